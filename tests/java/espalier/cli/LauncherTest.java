// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.jar.JarOutputStream;
import java.util.zip.ZipEntry;
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

  /** A jar of a preset that holds one library. */
  private void preset(Path folder, String name, String library) throws IOException {
    Path file = folder.resolve(name + "-1.0-1.5.13-linux-x86_64.jar");
    try (JarOutputStream jar = new JarOutputStream(Files.newOutputStream(file))) {
      jar.putNextEntry(new ZipEntry("org/bytedeco/" + name + "/linux-x86_64/" + library));
      jar.write(name.getBytes(StandardCharsets.UTF_8));
    }
  }

  @Test
  void benchFindsTheLibrariesToBeatByItself() throws IOException {
    Path jars = Files.createDirectory(folder.resolve("jars"));
    preset(jars, "openblas", "libopenblas.so.0");
    preset(jars, "dnnl", "libdnnl.so.3");
    preset(jars, "pytorch", "libtorch_cpu.so");
    tool("program", "printf '%s\\n' \"$@\"");
    tool("g++", "echo 12.2.0");
    tool("make", "");
    String copied = "/bin/cp '" + bin.resolve("program") + "' \"$2/bench\"";
    tool(
        "cmake",
        "case $1 in --version) echo 'cmake version 3.25.1' ;;\n"
            + "--build) mkdir -p \"$2\" && "
            + copied
            + " ;; esac");
    tool(
        "mvn",
        "case \"$*\" in *-Pbench*) mkdir -p target/vendors && /bin/cp '"
            + jars
            + "'/[dp]* target/vendors ;;\n*) mkdir -p target/lib && touch target/espalier-1.jar && "
            + "/bin/cp '"
            + jars
            + "'/openblas* target/lib ;; esac");
    CommandRun alone = launch(launcher, "--no-install", "bench", "--op", "x");
    assertEquals(0, alone.code(), alone.err());
    List<String> words = alone.out().lines().toList();
    assertEquals(List.of("--op", "x", "--blas"), words.subList(0, 3));
    assertEquals("openblas", Files.readString(Path.of(words.get(3))));
    assertEquals(4, words.size(), alone.out());

    CommandRun beside =
        launch(launcher, "--no-install", "bench", "--vendors", "--readme", "README.md");
    assertEquals(0, beside.code(), beside.err());
    words = beside.out().lines().toList();
    assertEquals(List.of("--readme", "README.md", "--blas"), words.subList(0, 3));
    assertEquals("--onednn", words.get(4));
    assertEquals("dnnl", Files.readString(Path.of(words.get(5))));
    assertEquals("--torch", words.get(6));
    assertEquals("pytorch", Files.readString(Path.of(words.get(7))));
    assertEquals("--results", words.get(8));
    assertTrue(words.get(9).endsWith("tests/bench/results"), words.get(9));
  }
}
