import { assertEquals } from "@std/assert";
import type { CompressionStatistics } from "../../../server/compression/compression_statistics.ts";
import { sentPagesText } from "../../../server/command/sent_pages_text.ts";
import type { SourceStatistics } from "../../../server/outgoing/statistics.ts";

const NONE: CompressionStatistics = {
  method: "zlib",
  pages: 0,
  busy: 0,
  "busy-rate": 0,
  incompressible: 0,
  failed: 0,
  "compressed-size": 0,
  "compression-rate": 0,
};

function text(compression?: Partial<CompressionStatistics>): string {
  const ram = { normal: 1234, duplicate: 56 } as SourceStatistics["ram"];
  const figures = compression === undefined ? {} : { compression: { ...NONE, ...compression } };
  return sentPagesText({ ram, ...figures } as SourceStatistics);
}

Deno.test("sentPagesText tells pages and zero pages", () => {
  assertEquals(text(), "1,234 pages and 56 zero pages sent");
});

Deno.test("sentPagesText tells what compression brought, and why pages went as they are", () => {
  assertEquals(
    text({ pages: 100, "compression-rate": 4, busy: 1000, incompressible: 200, failed: 34 }),
    "1,234 pages, 100 zlib pages and 56 zero pages sent (zlib to 25.0 %; 1,000 as they are because " +
      "all threads were busy; 200 as they are because they hardly shrink; 34 that could not be " +
      "compressed)",
  );
  assertEquals(text({}), "1,234 pages, 0 zlib pages and 56 zero pages sent");
});

Deno.test("sentPagesText tells what went on channels of multifd", () => {
  const ram = { normal: 1234, duplicate: 56 } as SourceStatistics["ram"];
  const multifd = { channels: 4, compression: "zstd", bytes: 3 << 20 } as const;
  assertEquals(
    sentPagesText({ ram, multifd } as SourceStatistics),
    "1,234 pages and 56 zero pages sent (3 MiB on 4 multifd channels by zstd)",
  );
});
