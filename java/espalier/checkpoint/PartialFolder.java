// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Event;
import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
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
import java.util.Collection;
import java.util.List;
import java.util.stream.Stream;

/**
 * {@code OUT.partial}, where an output grows until it is complete and gets the name {@code OUT}: a
 * reader sees all of it or nothing.
 *
 * <pre>
 * OUT.partial/.espalier-run   empty; locked by the run that is alive (the kernel lets go of the lock
 *                             when that run is killed), and the sign that the folder is ours
 * OUT.partial/output/         what is renamed to OUT in one step
 * OUT.partial/…               what a run keeps to go on after it was killed; goes with the folder
 * </pre>
 *
 * <p>{@link #close} removes the folder, whether the output was published or not, unless {@link
 * #leave} was called.
 */
public final class PartialFolder implements AutoCloseable {
  /** What to do about a state that cannot be used; part of every message about one. */
  public static final String ADVICE = "to start afresh, pass --restart or delete the folder";

  private static final String SUFFIX = ".partial";
  private static final String MARKER = ".espalier-run";
  private static final String PAYLOAD = "output";
  private static final String DISCARDED = "discarded";

  private final Path out;
  private final Path path;
  private final FileChannel marker;
  private boolean found;
  private boolean left;
  private boolean open = true;

  private PartialFolder(Path out, Path path, FileChannel marker, boolean found) {
    this.out = out;
    this.path = path;
    this.marker = marker;
    this.found = found;
  }

  /**
   * Takes the folder of an output, with what an earlier run left in it; makes it, together with
   * missing parents, when there is none. The caller closes the result.
   *
   * @throws EspalierException (USAGE) when the output, its parent, a folder of other people or a
   *     run that is alive stands in the way; (RESOURCE) when the folder cannot be made
   */
  public static PartialFolder open(Path wanted) {
    try {
      Path out = target(wanted);
      Path path = out.resolveSibling(out.getFileName() + SUFFIX);
      FileChannel marker = take(path);
      while (marker == null) {
        target(wanted);
        marker = take(path);
      }
      // Without a payload there is only what a removal left that was killed.
      boolean found = Files.isDirectory(path.resolve(PAYLOAD));
      PartialFolder folder = new PartialFolder(out, path, marker, found);
      if (!found) {
        folder.clear();
      }
      return folder;
    } catch (IOException e) {
      throw EspalierException.resource(
          wanted + ": the output folder cannot be made: " + reason(e),
          "Choose a folder that you may write.",
          e);
    }
  }

  /**
   * Makes an empty folder, otherwise as {@link #open}.
   *
   * @param events receives a warning when a leftover was replaced
   */
  static PartialFolder create(Path wanted, List<Event> events) {
    PartialFolder folder = open(wanted);
    if (folder.found()) {
      folder.clear();
      String what = "the leftover of an unfinished run was removed";
      events.add(Event.warning("leftover-replaced", folder.path().toString(), what));
    }
    return folder;
  }

  /** Returns the real path of an output that may be put in place, its parent made. */
  private static Path target(Path wanted) throws IOException {
    Path out = wanted.toAbsolutePath().normalize();
    if (Files.exists(out) || out.getFileName() == null) {
      removeRemains(out);
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

  /** Finishes the work of a run that was killed between giving the output its name and tidying. */
  private static void removeRemains(Path out) throws IOException {
    if (out.getFileName() == null) {
      return;
    }
    Path path = out.resolveSibling(out.getFileName() + SUFFIX);
    if (isOurs(path) && !Files.exists(path.resolve(PAYLOAD), LinkOption.NOFOLLOW_LINKS)) {
      try (FileChannel channel = FileChannel.open(path.resolve(MARKER), StandardOpenOption.WRITE)) {
        if (isLocked(channel)) {
          removeTree(path);
        }
      }
    }
  }

  private static boolean isOurs(Path path) {
    return Files.isRegularFile(path.resolve(MARKER), LinkOption.NOFOLLOW_LINKS);
  }

  private static FileChannel make(Path path) throws IOException {
    Files.createDirectory(path);
    DurableFiles.sync(path.getParent());
    return lock(path, StandardOpenOption.CREATE);
  }

  /** Locks the folder, made if need be; null when the run that held it removed it just now. */
  private static FileChannel take(Path path) throws IOException {
    FileChannel marker = Files.exists(path, LinkOption.NOFOLLOW_LINKS) ? adopt(path) : make(path);
    if (Files.exists(path.resolve(MARKER))) {
      return marker;
    }
    marker.close();
    return null;
  }

  private static FileChannel adopt(Path path) throws IOException {
    if (!isOurs(path) && !isEmpty(path)) {
      throw EspalierException.usage(
          path + ": is in the way and was not made by this program", "Remove or rename it.");
    }
    // An empty folder is what a run leaves that was killed in its first moment.
    return isOurs(path) ? lock(path) : lock(path, StandardOpenOption.CREATE);
  }

  private static boolean isEmpty(Path path) throws IOException {
    if (!Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
      return false;
    }
    try (Stream<Path> children = Files.list(path)) {
      return children.findAny().isEmpty();
    }
  }

  private static FileChannel lock(Path folder, StandardOpenOption... extra) throws IOException {
    FileChannel channel =
        extra.length == 0
            ? FileChannel.open(folder.resolve(MARKER), StandardOpenOption.WRITE)
            : FileChannel.open(folder.resolve(MARKER), StandardOpenOption.WRITE, extra[0]);
    try {
      if (isLocked(channel)) {
        return channel;
      }
    } catch (IOException e) {
      channel.close();
      throw e;
    }
    channel.close();
    throw EspalierException.usage(
        folder + ": another run is writing there", "Wait for it, or name another folder.");
  }

  /** Returns whether this call got the lock, which closing the channel or dying gives up. */
  private static boolean isLocked(FileChannel channel) throws IOException {
    try {
      return channel.tryLock() != null;
    } catch (OverlappingFileLockException e) {
      return false; // this process holds it: the same answer as for another process
    }
  }

  /** Returns {@code OUT.partial}. */
  public Path path() {
    return path;
  }

  /** Returns the folder that becomes the output. */
  public Path payload() {
    return path.resolve(PAYLOAD);
  }

  /** Returns whether there is something that an earlier run left. */
  public boolean found() {
    return found;
  }

  /** Removes everything that an earlier run left; the folder and its lock stay. */
  public void clear() {
    found = false;
    try {
      removeContent();
      Files.createDirectory(payload());
    } catch (IOException e) {
      throw EspalierException.resource(
          path + ": cannot be emptied: " + reason(e), "Remove it by hand.", e);
    }
  }

  /** Removes everything from a folder but some files at its top. */
  static void retain(Path folder, Collection<String> names) throws IOException {
    try (Stream<Path> children = Files.list(folder)) {
      for (Path child : children.toList()) {
        if (!names.contains(child.getFileName().toString())) {
          removeTree(child);
        }
      }
    }
  }

  /** Makes {@link #close} leave everything in place for a run to come. */
  public void leave() {
    left = true;
  }

  /**
   * Makes everything durable and renames the payload to the output, which is returned.
   *
   * @throws EspalierException (RESOURCE) when the disk fails, or the output cannot get its name:
   *     the payload is complete then, and stays; (INTERRUPTED) when the thread was interrupted
   */
  public Path publish() {
    try {
      try (Stream<Path> all = Files.walk(payload())) {
        for (Path each : all.toList()) {
          DurableFiles.sync(each);
        }
      }
      put();
      DurableFiles.sync(out.getParent());
      return out;
    } catch (IOException e) {
      throw failure(path, e);
    }
  }

  private void put() {
    try {
      Files.move(payload(), out, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      leave();
      throw EspalierException.resource(
          out + ": cannot be put in place: " + reason(e),
          "The output is complete: rename " + payload() + " by hand.",
          e);
    }
  }

  /**
   * Returns the exception of a disk that failed, or of a thread that was interrupted, at a file.
   */
  public static EspalierException failure(Path path, IOException e) {
    return e instanceof ClosedByInterruptException
        ? new EspalierException(Kind.INTERRUPTED, path + ": interrupted", "", e)
        : EspalierException.resource(
            path + ": cannot be written: " + reason(e),
            "Free some space, or choose another disk for the output.",
            e);
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

  /** Removes the folder unless it was left. Closing twice does nothing. */
  @Override
  public void close() {
    if (!open) {
      return;
    }
    open = false;
    try (marker) {
      if (!left) {
        removeAll();
      }
    } catch (IOException e) {
      throw EspalierException.resource(
          path + ": cannot be removed: " + reason(e), "Remove it by hand.", e);
    }
  }

  private void removeAll() throws IOException {
    removeContent();
    Files.delete(path.resolve(MARKER));
    Files.delete(path);
  }

  /** Removes all but the marker. The payload goes in one step, so that no half of it is resumed. */
  private void removeContent() throws IOException {
    Path discarded = path.resolve(DISCARDED);
    if (Files.exists(discarded, LinkOption.NOFOLLOW_LINKS)) {
      removeTree(discarded);
    }
    if (Files.exists(payload(), LinkOption.NOFOLLOW_LINKS)) {
      Files.move(payload(), discarded, StandardCopyOption.ATOMIC_MOVE);
    }
    try (Stream<Path> children = Files.list(path)) {
      for (Path child : children.toList()) {
        if (!child.equals(path.resolve(MARKER))) {
          removeTree(child);
        }
      }
    }
  }
}
