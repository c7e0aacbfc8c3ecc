// crash.test.mjs - the gateway is killed in a stream of changes, on a disk that forgets what was not synced.
import { crashes } from './crashes.mjs';

await crashes({ kills: Number(process.env.WEIR_KILLS ?? 20), seed: Number(process.env.WEIR_SEED ?? 1) });
