// Copies a file in one of Java's ways: java Copies.java WAY SOURCE DESTINATION
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

class Copies {
    public static void main(String[] arguments) throws Exception {
        Path source = Path.of(arguments[1]), destination = Path.of(arguments[2]);
        switch (arguments[0]) {
            case "readAllBytes" -> Files.write(destination, Files.readAllBytes(source));
            case "copy" -> Files.copy(source, destination);
            case "transferTo" -> {
                try (FileChannel in = FileChannel.open(source);
                        FileChannel out = FileChannel.open(destination,
                            StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
                    long at = 0, moved;
                    while ((moved = in.transferTo(at, in.size() - at, out)) > 0) at += moved;
                }
            }
            case "map" -> {
                try (FileChannel in = FileChannel.open(source)) {
                    byte[] content = new byte[(int) in.size()];
                    in.map(FileChannel.MapMode.READ_ONLY, 0, in.size()).get(content);
                    Files.write(destination, content);
                }
            }
        }
    }
}
