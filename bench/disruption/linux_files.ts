/** The file systems of the guests that boot Linux: a database that is asked, and a script. */

import { buildFileSystem, READY_LINE, textFiles } from "../methods/initramfs.ts";
import { REDIS_SERVER } from "./debian_packages.ts";

/** Keys of the database in a guest of 512 MiB, in proportion in others. */
const KEYS = 200_000;
const KEYS_MEMORY = 512 * 2 ** 20;
/** Bytes of a value. */
const VALUE = 1000;
/** Spreads keys that are asked for often over all; a prime. */
const SPREAD = 1_000_003;
/** Questions between two looks at the clock. */
const ASKED_AT_ONCE = 8;

/** What the script guest waits for at its serial port. */
export const SCRIPT_GO = "go";
/** What the script guest prints when its script has ended. */
export const SCRIPT_END = "SCRIPT END";

const encoder = new TextEncoder();

const MOUNTS = `#!/bin/bash
export PATH=/bin
mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
`;

/**
 * The client: asks for one key after the other by a Zipf law of exponent 1 and checks each answer. Says
 * every 100 ms how many it got since it said so last. Without modules: those of the guest's Perl are not
 * there.
 */
function client(keys: number): string {
  return `
socket(S, 1, 1, 0) or die "WRONG socket $!";
connect(S, pack("S Z108", 1, "/tmp/redis")) or die "WRONG connect $!";
sub now { my $t = pack("qq", 0, 0); syscall(228, 1, $t); my ($s, $n) = unpack("qq", $t); $s + $n / 1e9 }
sub hear { my ($end) = @_; my $got = "";
  until (substr($got, -length $end) eq $end) { sysread(S, $got, 65536, length $got) or die "WRONG end" }
  $got }
syswrite S, "DEBUG POPULATE ${keys} key ${VALUE}\\r\\n"; hear("+OK\\r\\n");
my ($n, $work, $next, $ready) = (${keys}, 0, now() + 0.1, 0);
while (1) {
  for (1..${ASKED_AT_ONCE}) {
    my $key = int(($n + 1) ** rand) * ${SPREAD} % $n;
    syswrite S, "GET key:$key\\r\\n";
    my ($got, $end, $want) = ("", "\\r\\n", "\\$${VALUE}\\r\\nvalue:$key");
    while (length $got < ${VALUE + `$${VALUE}\r\n\r\n`.length}) {
      sysread(S, $got, 65536, length $got) or die "WRONG end";
    }
    print "WRONG key $key\\n" if substr($got, 0, length $want) ne $want;
    $work++;
  }
  my $now = now();
  next if $now < $next;
  syswrite STDOUT, "w $work\\n";
  ($work, $next) = (0, $now + 0.1);
  syswrite STDOUT, "${READY_LINE}\\n" if ++$ready == 10;
}
`;
}

/**
 * Builds the file system of the guest with Debian's redis-server and a client.
 *
 * @param size bytes of the guest's memory
 * @param tree where redis-server's packages were unpacked
 */
export function redisFiles(size: number, tree: string): Uint8Array<ArrayBuffer> {
  const keys = Math.round(KEYS * size / KEYS_MEMORY);
  return buildFileSystem({
    programs: ["bash", "mount", "perl", "sleep"],
    unpacked: { tree, programs: { "redis-server": REDIS_SERVER } },
    files: { client: encoder.encode(client(keys)) },
    init: `${MOUNTS}
redis-server --port 0 --unixsocket /tmp/redis --save '' --enable-debug-command yes > /tmp/log &
until [ -S /tmp/redis ]; do sleep 0.1; done
perl /client
echo WRONG client ended
sleep infinity
`,
  });
}

/**
 * Builds the file system of the guest that waits for a word at its serial port, then starts a script:
 * programs, of which each is new, that read files, sort, and pack; some 1.2 s under TCG. It has run once
 * when the guest is ready.
 *
 * @param size bytes of the guest's memory, a tenth of which is files
 */
export function scriptFiles(size: number): Uint8Array<ArrayBuffer> {
  return buildFileSystem({
    programs: ["bash", "cat", "gzip", "head", "mount", "perl", "sleep", "sort", "tar"],
    files: textFiles(size),
    init: `${MOUNTS}
script() {
  perl -e 'opendir D, "/text"; for (sort readdir D) { open F, "<", "/text/$_";
    while (<F>) { $n{$_}++ for split /\\W+/; last if ($bytes += length) > 500_000 } }'
  cat /text/* | head -c 500K | sort > /tmp/sorted
  tar -c /text 2> /dev/null | head -c 1M | gzip -1 > /tmp/packed.gz
  perl -e '@a = map { { id => $_, name => "entry $_" } } 1..8000;'
}
script
echo ${READY_LINE}
while read -r word; do
  [ "$word" = ${SCRIPT_GO} ] || continue
  script
  echo ${SCRIPT_END}
done
`,
  });
}

/**
 * Reads what a line of the redis guest's says.
 *
 * @returns answers since the line before; undefined when it says something else, or is cut
 */
export function parseRedisLine(line: string): number | undefined {
  const match = /^w (\d+)$/.exec(line);
  return match === null ? undefined : Number(match[1]);
}
