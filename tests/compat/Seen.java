import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

class Seen {
    public static void main(String[] arguments) throws Exception {
        Runtime runtime = Runtime.getRuntime();
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.println(runtime.availableProcessors());
        System.out.println(runtime.maxMemory());
        System.out.println(system.getTotalMemorySize());
        System.out.println(system.getFreeMemorySize());
        system.getCpuLoad();
        Thread.sleep(300);
        System.out.println(system.getCpuLoad());
    }
}
