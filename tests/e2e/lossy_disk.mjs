// lossy_disk.mjs - a disk that forgets: what a killed gateway wrote to its database and did not sync is taken back.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));

// Builds what is preloaded (lossy_disk.c says how it works) into `folder`.
//   env       for the gateway
//   forget(r) after its kill: takes back what was not synced of each file; all of it, or what followed a random write, as
//             disks write early and stop anywhere. r() draws from [0, 1). How many writes were taken back.
export function lossyDisk(folder) {
    const library = path.join(folder, 'lossy_disk.so'), log = path.join(folder, 'lossy_disk.log');
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-D_GNU_SOURCE', '-D_LARGEFILE64_SOURCE', '-o', library,
        path.join(here, 'fixtures/lossy_disk.c'), '-ldl']);
    return {
        // A sanitizer wants to be the first library; it is in the binary itself here, and need not be.
        env: { LD_PRELOAD: library, LOSSY_DISK_LOG: log, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` },
        forget(r) {
            if (!existsSync(log)) return 0;
            const files = new Map(); // path to its changes since it was synced
            for (const { kind, file, ...change } of records(readFileSync(log))) {
                if (kind === 2) files.set(file, []);
                else files.set(file, [...(files.get(file) ?? []), change]);
            }
            rmSync(log);
            let n = 0;
            for (const [file, changes] of files) {
                if (!existsSync(file) || changes.length === 0) continue;
                const first = r() < 0.5 ? 0 : Math.floor(r() * changes.length);
                const fd = openSync(file, 'r+');
                for (let i = changes.length - 1; i >= first; i--, n++) {
                    const { at, oldSize, old } = changes[i];
                    writeSync(fd, old, 0, old.length, at);
                    ftruncateSync(fd, oldSize);
                }
                closeSync(fd);
            }
            return n;
        },
    };
}

// The records of the log; one that is torn at the end is of a write that never began.
function* records(bytes) {
    for (let at = 0; at + 32 <= bytes.length;) {
        const kind = bytes.readUInt32LE(at), nPath = bytes.readUInt32LE(at + 4);
        const nOld = Number(bytes.readBigUInt64LE(at + 24)), end = at + 32 + nPath + nOld;
        if (end > bytes.length) return;
        yield {
            kind, file: bytes.toString('utf8', at + 32, at + 32 + nPath), at: Number(bytes.readBigUInt64LE(at + 8)),
            oldSize: Number(bytes.readBigUInt64LE(at + 16)), old: bytes.subarray(at + 32 + nPath, end),
        };
        at = end;
    }
}
