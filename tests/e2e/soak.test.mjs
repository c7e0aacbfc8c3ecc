// soak.test.mjs - a short soak: what callers were charged is what the buckets moved, to the last thousandth of a token.
import { soak } from '../soak/soak.mjs';

await soak({ seconds: 8, seed: 20 });
