// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The launcher in a checkout of its own, on machines that lack this or that. */
class LauncherTest {
  /** What the launcher may call besides the tools it looks for. */
  private static final List<String> BASICS =
      List.of(
          "bash",
          "readlink",
          "dirname",
          "sed",
          "tr",
          "ls",
          "find",
          "id",
          "mkdir",
          "flock",
          "touch",
          "rm",
          "tail",
          "mv",
          "env",
          "head",
          "grep",
          "cat");

  @TempDir Path folder;
  private Path launcher;
  private Path bin;

  @BeforeEach
  void copy() throws IOException {
    Path checkout = Files.createDirectories(folder.resolve("a checkout"));
    launcher = Files.copy(Path.of("espalier"), checkout.resolve("espalier"));
    launcher.toFile().setExecutable(true);
    bin = Files.createDirectory(folder.resolve("bin"));
    for (String tool : BASICS) {
      for (String place : List.of("/usr/bin/", "/bin/")) {
        if (Files.exists(Path.of(place + tool)) && !Files.exists(bin.resolve(tool))) {
          Files.createSymbolicLink(bin.resolve(tool), Path.of(place + tool));
        }
      }
    }
  }

  private void tool(String name, String script) throws IOException {
    Path file = Files.writeString(bin.resolve(name), "#!" + bin.resolve("bash") + "\n" + script);
    file.toFile().setExecutable(true);
  }

  private CommandRun launch(Path program, String... words) throws IOException {
    List<String> command = new ArrayList<>(List.of(program.toString()));
    command.addAll(Arrays.asList(words));
    ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
    Map<String, String> environment = builder.environment();
    environment.put("PATH", bin.toString());
    environment.remove("CXX");
    Path out = folder.resolve("out.txt");
    Path err = folder.resolve("err.txt");
    builder.redirectOutput(out.toFile()).redirectError(err.toFile());
    try {
      int code = builder.start().waitFor();
      return new CommandRun(code, Files.readString(out), Files.readString(err));
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void withoutAPackageManagerItSaysWhatIsMissing() throws IOException {
    CommandRun run = launch(launcher, "inspect", "x");
    assertEquals(1, run.code());
    assertEquals("", run.out());
    for (String name : List.of("maven", "cmake", "g++", "make")) {
      assertTrue(run.err().contains(name), run.err());
    }
  }

  @Test
  void noInstallPrintsTheLineAndRunsNothing() throws IOException {
    tool("apt-get", "echo called >> '" + folder.resolve("called") + "'");
    CommandRun run = launch(launcher, "--no-install", "inspect", "x");
    assertEquals(1, run.code());
    assertEquals("", run.out());
    assertTrue(run.err().contains("apt-get update && "), run.err());
    assertTrue(run.err().contains("apt-get install -y "), run.err());
    assertTrue(Files.notExists(folder.resolve("called")));
  }

  @Test
  void theLineIsPrintedBeforeItRuns() throws IOException {
    tool("apt-get", "echo \"apt-get $*\" >&2");
    tool("sudo", "exec \"$@\"");
    CommandRun run = launch(launcher, "inspect", "x");
    assertEquals(1, run.code(), run.err()); // this apt-get installs nothing
    int announced = run.err().indexOf("installing what is missing");
    int ran = run.err().indexOf("\napt-get update");
    assertTrue(announced >= 0 && ran > announced, run.err());
    assertTrue(
        run.err().contains("even after installing") || run.err().contains("older"), run.err());
  }

  @Test
  void oldToolsCountAsMissing() throws IOException {
    tool("cmake", "echo 'cmake version 3.22.1'");
    tool("g++", "echo 11.4.0");
    tool("make", "");
    tool("mvn", "");
    CommandRun run = launch(launcher, "--no-install", "inspect", "x");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("cmake") && run.err().contains("g++"), run.err());
    assertTrue(!run.err().contains("maven"), run.err());
  }

  @Test
  void aLinkToItFindsTheCheckout() throws IOException {
    Path link = Files.createSymbolicLink(folder.resolve("link"), Path.of("a checkout/espalier"));
    assertEquals(1, launch(link, "--no-install", "inspect", "x").code());
  }
}
