// soak.test.mjs - random calls, aborts, faults, resizes and signals for SOAK_SECONDS; then an auditor reads the books.
import { soak } from './soak.mjs';

await soak({ seconds: Number(process.env.SOAK_SECONDS ?? 60), seed: Number(process.env.SOAK_SEED ?? 1) });
