// crash.test.mjs - many kills in a stream of changes: 200 in ten minutes, fewer in a shorter soak.
import { crashes } from '../e2e/crashes.mjs';

const kills = Math.max(4, Math.min(200, Math.floor(Number(process.env.SOAK_SECONDS ?? 60) / 3)));
for (let part = 0; part * 50 < kills; part++) await crashes({ kills: Math.min(50, kills - part * 50), seed: 100 + part });
