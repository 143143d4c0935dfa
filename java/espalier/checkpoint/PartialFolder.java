// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.stream.Stream;

/**
 * {@code OUT.partial}, where an output grows until it is complete and is renamed to {@code OUT}: a
 * reader sees all of it or nothing. A locked marker file in it tells a run that is alive from the
 * leftover of one that was killed, and our folders from other people's.
 */
final class PartialFolder implements AutoCloseable {
  private static final String SUFFIX = ".partial";
  private static final String MARKER = ".espalier-run";

  private final Path out;
  private final Path path;
  private final FileChannel marker;
  private boolean open = true;

  private PartialFolder(Path out, Path path, FileChannel marker) {
    this.out = out;
    this.path = path;
    this.marker = marker;
  }

  /**
   * Makes the folder, together with missing parents. The caller closes the result.
   *
   * @param events receives a warning when a leftover was replaced
   * @throws EspalierException (USAGE) when the output or its parent stands in the way; (RESOURCE)
   *     when the folder cannot be made
   */
  static PartialFolder create(Path wanted, List<Event> events) {
    try {
      Path out = target(wanted);
      Path path = out.resolveSibling(out.getFileName() + SUFFIX);
      if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
        removeLeftover(path, events);
      }
      Files.createDirectory(path);
      try {
        return new PartialFolder(out, path, lock(path, StandardOpenOption.CREATE_NEW));
      } catch (Throwable e) {
        removeTree(path);
        throw e;
      }
    } catch (IOException e) {
      throw EspalierException.resource(
          wanted + ": the output folder cannot be made: " + reason(e),
          "Choose a folder that you may write.",
          e);
    }
  }

  /** Returns the real path of an output that may be put in place, its parent made. */
  private static Path target(Path wanted) throws IOException {
    Path out = wanted.toAbsolutePath().normalize();
    if (Files.exists(out) || out.getFileName() == null) {
      throw EspalierException.usage(
          wanted + ": exists already; an output is never overwritten", "Name a new folder.");
    }
    if (Files.exists(out, LinkOption.NOFOLLOW_LINKS)) {
      throw EspalierException.usage(wanted + ": is a broken link", "Name a new folder.");
    }
    for (Path parent = out.getParent(); parent != null; parent = parent.getParent()) {
      if (Files.exists(parent)) {
        if (!Files.isDirectory(parent)) {
          throw EspalierException.usage(
              wanted + ": " + parent + " is not a folder", "Choose another place for the output.");
        }
        break;
      }
    }
    return Files.createDirectories(out.getParent()).toRealPath().resolve(out.getFileName());
  }

  private static void removeLeftover(Path path, List<Event> events) throws IOException {
    if (!Files.isRegularFile(path.resolve(MARKER), LinkOption.NOFOLLOW_LINKS)) {
      throw EspalierException.usage(
          path + ": is in the way and was not made by this program", "Remove or rename it.");
    }
    lock(path).close();
    removeTree(path);
    events.add(
        Event.warning(
            "leftover-replaced", path.toString(), "the leftover of an unfinished run was removed"));
  }

  private static FileChannel lock(Path folder, StandardOpenOption... extra) throws IOException {
    FileChannel channel =
        extra.length == 0
            ? FileChannel.open(folder.resolve(MARKER), StandardOpenOption.WRITE)
            : FileChannel.open(folder.resolve(MARKER), StandardOpenOption.WRITE, extra[0]);
    try {
      if (channel.tryLock() != null) {
        return channel;
      }
    } catch (OverlappingFileLockException e) {
      // This process holds it: the same answer as for another process.
    } catch (IOException e) {
      channel.close();
      throw e;
    }
    channel.close();
    throw EspalierException.usage(
        folder + ": another run is writing there", "Wait for it, or name another folder.");
  }

  Path path() {
    return path;
  }

  /**
   * Makes everything durable and renames the folder to the output, which is returned.
   *
   * @throws EspalierException (RESOURCE) when the output cannot get its name; the folder is
   *     complete then, and stays
   */
  Path publish() throws IOException {
    try (Stream<Path> all = Files.walk(path)) {
      for (Path each : all.toList()) {
        sync(each);
      }
    }
    Files.delete(path.resolve(MARKER));
    sync(path);
    open = false;
    marker.close();
    try {
      Files.move(path, out, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw EspalierException.resource(
          out + ": cannot be put in place: " + reason(e),
          "The output is complete: rename " + path + " by hand.",
          e);
    }
    sync(out.getParent());
    return out;
  }

  private static void sync(Path path) throws IOException {
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  private static void removeTree(Path root) throws IOException {
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes facts)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, IOException failure)
              throws IOException {
            Files.delete(folder);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  /** Returns what went wrong; the message of a file system exception may be only a path. */
  static String reason(IOException e) {
    return e.getClass() == IOException.class
        ? e.getMessage()
        : e.getClass().getSimpleName().replace("Exception", "") + ": " + e.getMessage();
  }

  /** Removes the folder unless it was published. */
  @Override
  public void close() {
    if (!open) {
      return;
    }
    open = false;
    try (marker) {
      removeTree(path);
    } catch (IOException e) {
      throw EspalierException.resource(
          path + ": cannot be removed: " + reason(e), "Remove it by hand.", e);
    }
  }
}
