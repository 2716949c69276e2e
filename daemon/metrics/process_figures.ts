/** Figures of the process, by the names that all clients of Prometheus give them. */

import process from "node:process";
import type { Family } from "./samples.ts";

const STARTED = Date.now() / 1000 - performance.now() / 1000;

/** Processor time, memory and descriptors. */
export function processFamilies(): Family[] {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = Deno.memoryUsage();
  return [
    counter("process_cpu_seconds_total", "Processor time of the process.", (user + system) / 1e6),
    gauge("process_resident_memory_bytes", "Memory of the process, mapped images included.", rss),
    gauge("process_heap_bytes", "Bytes of objects of the main thread.", heapUsed),
    gauge("process_open_fds", "Open descriptors.", [...Deno.readDirSync("/proc/self/fd")].length),
    gauge("process_start_time_seconds", "When it began, in seconds since 1970.", STARTED),
  ];
}

function counter(name: string, help: string, value: number): Family {
  return { name, help, type: "counter", values: [{ labels: {}, value }] };
}

function gauge(name: string, help: string, value: number): Family {
  return { name, help, type: "gauge", values: [{ labels: {}, value }] };
}
