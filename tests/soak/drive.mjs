// drive.mjs - drives a gateway at random and writes down all that an accountant needs: see ledger.py.
//
//     node tests/soak/drive.mjs FOLDER [SECONDS [SEED]]
//
// leaves in FOLDER:
//   run-N.access.log*   the access log of each run of the gateway (.1, .2 ...: as it was rotated)
//   run-N.levels.jsonl  the levels that the run left behind
//   runs.json           how each run ended
//   servers.json        model servers that ended without being told
//   journal.jsonl       one line a call: what was asked, what came back
//   config.jsonl        one line a configuration: when it was sent, when it was in force
//   samples.jsonl       /debug/deployments, the metrics and the holdings of the process, now and then
// Times are those of the wall clock, in ms.
import { appendFileSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { apiKey, delay, freePort, isSanitized, rawConnection, spawnGateway, spawnWeir, until } from '../e2e/support.mjs';

const account = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/soak' +
    '/providers/Microsoft.CognitiveServices/accounts/soak';
const now = () => Date.now();

// Small and repeatable: two drives of one seed ask for the same, as far as the machine lets them.
function makeRandom(seed) {
    let s = seed >>> 0;
    const next = () => {
        s = (s + 0x6d2b79f5) >>> 0;
        let z = Math.imul(s ^ (s >>> 15), s | 1);
        z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
        return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
    };
    const below = (n) => Math.floor(next() * n);
    return { next, below, between: (a, b) => a + below(b - a + 1), chance: (p) => next() < p, pick: (list) => list[below(list.length)] };
}

// --- what is configured ---

// Models of our own, so that every weight differs from the catalog's. ledger.py has the same numbers on its own.
//   deep   100 % is an hour of work: a first great call fills the bucket so that it never runs empty
//   tiers  long prompts weigh more
//   alone  100 % is a second of work: one caller alone, who returns exactly when told
const models = {
    'soak-deep': { inputTpmPerPtu: 30000, outputWeight: 3, cachedWeight: 0.25 },
    'soak-tiers': {
        inputTpmPerPtu: 50000, outputWeight: 4,
        inputTiers: [{ fromTokens: 0, weight: 1 }, { fromTokens: 500, weight: 1.5 }, { fromTokens: 3000, weight: 2 }],
    },
    'soak-alone': { inputTpmPerPtu: 60000, outputWeight: 3 },
};

function deployment(name, { sku, capacity, model, windowMs }) {
    const isOwn = model in models;
    return {
        id: `${account}/deployments/${name}`,
        sku: { name: sku, capacity },
        properties: {
            model: { format: 'OpenAI', name: model, ...(isOwn ? { version: '1' } : {}) },
            ...(windowMs ? { weir: { depthWindowMs: windowMs } } : {}),
        },
    };
}

const firstDeployments = () => ({
    deep: { sku: 'ProvisionedManaged', capacity: 10, model: 'soak-deep', windowMs: 3600000 },
    tiers: { sku: 'GlobalProvisionedManaged', capacity: 10, model: 'soak-tiers' },
    narrow: { sku: 'ProvisionedManaged', capacity: 50, model: 'gpt-4o', windowMs: 10000 },
    churn: { sku: 'ProvisionedManaged', capacity: 100, model: 'gpt-4o' },
    alone: { sku: 'ProvisionedManaged', capacity: 1, model: 'soak-alone', windowMs: 1000 },
    standard: { sku: 'GlobalStandard', capacity: 100, model: 'gpt-4o' },
    embed: { sku: 'Standard', capacity: 100, model: 'text-embedding-3-small' },
});

function resources(state) {
    return [
        { id: '/subscriptions/00000000-0000-0000-0000-000000000001', displayName: 'Soak' },
        { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US', dataZone: 'us' } },
        ...Object.entries(models).map(([name, properties]) => (
            { id: `/providers/Weir.Capacity/models/OpenAI.${name}.1`, properties })),
        {
            id: '/providers/Weir.Capacity/pools/soak', location: 'eastus',
            properties: {
                ptus: 100000,
                models: ['gpt-4o', 'text-embedding-3-small', ...Object.keys(models)].map((name) => ({ name })),
            },
        },
        ...state.backends.map((b) => ({
            id: `/providers/Weir.Capacity/pools/soak/backends/${b.name}`,
            properties: {
                url: b.url, onClientGone: b.onClientGone, connectTimeoutMs: 1000, firstByteTimeoutMs: state.firstByteTimeoutMs,
                idleTimeoutMs: 2500, weight: b.weight,
            },
        })),
        {
            id: account, kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' },
            properties: { customSubDomainName: 'soak', keys: { key1: apiKey } },
        },
        ...Object.entries(state.deployments).map(([name, d]) => deployment(name, d)),
        // Nobody calls it. Its capacity tells which configuration is in force.
        deployment('nth', { sku: 'GlobalStandard', capacity: state.nth, model: 'gpt-4o' }),
    ];
}

// --- model servers that die and come back ---

async function makeServer(name, args, more) {
    const port = await freePort();
    const server = { name, url: `http://127.0.0.1:${port}`, child: null, weight: 1, onClientGone: 'cancel', ...more };
    server.deaths = [];
    server.start = async () => {
        const child = await spawnWeir(['simulate', '--json', '--listen', `127.0.0.1:${port}`, '--context', '50000000',
            '--prompt-cache', ...args]);
        server.child = child;
        server.isWanted = true;
        child.ended.then(({ code, signal }) => {
            if (server.isWanted || (code !== 0 && signal !== 'SIGKILL')) server.deaths.push({ name, code, signal, stderr: child.stderr() });
        });
    };
    // Kills it in the midst of its calls, or has it finish them.
    server.end = (signal) => {
        server.isWanted = false;
        server.child.signal(signal);
        return server.child.ended;
    };
    await server.start();
    return server;
}

// --- calls ---

const words = ('river weir sluice basin flood ebb stone reed heron bank mill wheel gate level spill depth ' +
    'meander delta source mouth current eddy rapid pool ford bridge lock canal tide silt').split(' ');
// Stands in every prompt and in no log: what callers say is nobody's business.
export const marker = 'unspeakable';
const sharedPrefix = Array.from({ length: 1500 }, (_, i) => words[(i * 7 + 3) % words.length]).join(' ');

function makePrompt(r) {
    const size = r.next();
    const n = size < 0.6 ? r.between(1, 60) : size < 0.9 ? r.between(60, 500) : size < 0.995 ? r.between(500, 3000) : r.between(5000, 20000);
    const own = Array.from({ length: n }, () => r.pick(words)).join(' ');
    return `${r.chance(0.15) ? sharedPrefix : ''} ${marker} ${own}`;
}

const faults = [
    'slow-start;ms=300', 'stall;after=2', 'disconnect', 'disconnect;after=0', 'error', 'error;after=0', 'garbage', 'no-usage',
    'usage-every', 'burst;n=5', 'split', 'crlf', 'no-usage,burst;n=3', 'usage-every,disconnect;after=9',
];
// These strike a call at every server that it tries, and all of them are shunned for a while: rarely, then.
const refusals = ['429;retry-after-ms=20', '429;retry-after-ms=200', '429;retry=none', '500', '503', 'reset', 'garbage;http'];
const makeFault = (r) => (r.chance(0.12) ? r.pick(refusals) : r.pick(faults));

const operations = {
    chat: (d) => ({ target: `/openai/deployments/${d}/chat/completions?api-version=2024-10-21` }),
    chatV1: (d) => ({ target: '/openai/v1/chat/completions', model: d }),
    chatPlain: (d) => ({ target: '/v1/chat/completions', model: d }),
    completions: (d) => ({ target: `/openai/deployments/${d}/completions?api-version=2024-10-21` }),
    responses: (d) => ({ target: '/openai/v1/responses', model: d }),
    embeddings: (d) => ({ target: `/openai/deployments/${d}/embeddings?api-version=2024-10-21` }),
};

// A request at random: { deployment, op, target, body, headers, ask }; `ask` is what the estimate depends on.
function makeRequest(r, name) {
    const isEmbed = name === 'embed';
    const op = isEmbed ? 'embeddings' : r.pick(['chat', 'chat', 'chat', 'chatV1', 'chatPlain', 'completions', 'responses']);
    const { target, model } = operations[op](name);
    const ask = { api: op.startsWith('chat') ? 'chat' : op };
    const body = { ...(model ? { model } : {}) };
    const headers = {};
    if (op === 'completions') body.prompt = r.chance(0.2) ? [makePrompt(r), makePrompt(r)] : makePrompt(r);
    else if (op === 'responses') body.input = makePrompt(r);
    else if (op === 'embeddings') body.input = r.chance(0.3) ? [makePrompt(r), makePrompt(r)] : makePrompt(r);
    else body.messages = [...(r.chance(0.3) ? [{ role: 'system', content: 'Be brief.' }] : []), { role: 'user', content: makePrompt(r) }];
    if (!isEmbed) {
        body.stream = r.chance(0.6);
        if (body.stream && op !== 'responses' && r.chance(0.5)) body.stream_options = { include_usage: true };
        const limits = op === 'responses' ? ['max_output_tokens'] : op === 'completions' ? ['max_tokens']
            : r.pick([['max_tokens'], ['max_completion_tokens'], ['max_tokens', 'max_completion_tokens']]);
        if (r.chance(0.6)) for (const l of limits) body[l] = ask[l] = r.chance(0.1) ? r.between(1000, 5000) : r.between(1, 150);
        if (op !== 'responses' && r.chance(0.15)) body.n = ask.n = r.between(1, 4);
        if (op === 'completions' && !body.stream && r.chance(0.2)) body.best_of = ask.best_of = r.between(body.n ?? 1, 5);
        if (r.chance(0.7)) headers['x-sim-output-tokens'] = String(r.chance(0.03) ? r.between(300, 1500) : r.between(0, 120));
        if (r.chance(0.25)) headers['x-sim-fault'] = makeFault(r);
    } else if (r.chance(0.2)) {
        headers['x-sim-fault'] = makeFault(r);
    }
    return { deployment: name, op, target, body, headers, ask };
}

// The usage of an answer, whichever API made it; null when there is none that can be read.
function usageOfText(text, isStream) {
    const of = (u) => u && {
        prompt: u.prompt_tokens ?? u.input_tokens,
        output: u.completion_tokens ?? u.output_tokens ?? 0,
        cached: (u.prompt_tokens_details ?? u.input_tokens_details)?.cached_tokens ?? 0,
    };
    try {
        if (!isStream) return of(JSON.parse(text).usage) ?? null;
        let found = null;
        for (const line of text.split(/\r?\n/)) {
            if (!line.startsWith('data: {') || !line.includes('"usage":{')) continue;
            const event = JSON.parse(line.slice(6));
            found = of(event.usage ?? event.response?.usage) ?? found;
        }
        return found;
    } catch {
        return null;
    }
}

// Pieces of text in a stream, which count as tokens when nobody says how many there were.
function deltasOfText(text) {
    let n = 0;
    for (const line of text.split(/\r?\n/)) {
        if (!line.startsWith('data: {')) continue;
        let event;
        try {
            event = JSON.parse(line.slice(6));
        } catch {
            continue;
        }
        if (event.type) n += event.type.endsWith('.delta') ? 1 : 0;
        else n += (event.choices ?? []).filter((c) => c.delta?.content || c.text).length;
    }
    return n;
}

// One call by Node's client; resolves with its entry of the journal.
// `begun` is called with it when a part of the answer is there, and with null when none will come.
function call(base, agent, r, request, {
    leaves = null, isSlow = false, isChunked = false, expects = false, key = apiKey, begun = () => {},
} = {}) {
    const text = typeof request.body === 'string' ? request.body : JSON.stringify(request.body);
    const entry = {
        deployment: request.deployment, op: request.op, stream: request.body.stream === true, ask: request.ask,
        fault: request.headers['x-sim-fault'] ?? null, mark: request.mark, sent: now(), port: null, id: null, status: null,
        end: null, usage: null,
    };
    return new Promise((resolve) => {
        let isOver = false, timer = null, nPauses = 0;
        const over = (end) => {
            if (isOver) return;
            isOver = true;
            clearTimeout(timer);
            entry.end = end;
            entry.done = now();
            begun(null);
            resolve(entry);
        };
        const q = http.request(`${base}${request.target}`, {
            agent, method: 'POST',
            headers: {
                'api-key': key, 'content-type': 'application/json', ...request.headers,
                ...(isChunked ? {} : { 'content-length': Buffer.byteLength(text) }), ...(expects ? { expect: '100-continue' } : {}),
            },
        });
        const leave = () => {
            if (isOver) return;
            over('left');
            q.destroy();
        };
        q.on('socket', (s) => {
            const note = () => (entry.port = s.localPort);
            if (s.localPort) note();
            else s.once('connect', note);
        });
        q.on('error', () => over(leaves ? 'left' : 'broken'));
        q.on('response', (a) => {
            entry.id = a.headers['x-request-id'] ?? null;
            entry.status = a.statusCode;
            if (a.headers['retry-after-ms']) entry.retryAfterMs = Number(a.headers['retry-after-ms']);
            const pieces = [];
            let length = 0;
            a.setEncoding('utf8');
            a.on('data', (d) => {
                pieces.push(d);
                length += d.length;
                begun(entry);
                if (leaves?.afterBytes !== undefined && length > leaves.afterBytes) leave();
                else if (isSlow && nPauses < 8 && r.chance(0.5)) {
                    nPauses++;
                    a.pause();
                    setTimeout(() => a.resume(), r.between(5, 300));
                }
            });
            a.on('aborted', () => over('cut'));
            a.on('error', () => over('cut'));
            a.on('end', () => {
                if (!a.complete) return over('cut');
                const all = pieces.join('');
                if (a.statusCode === 200) {
                    entry.usage = usageOfText(all, entry.stream);
                    if (entry.stream) entry.deltas = deltasOfText(all);
                }
                over('whole');
            });
        });
        if (leaves?.afterMs !== undefined) timer = setTimeout(leave, leaves.afterMs);
        const send = () => {
            if (!isSlow || text.length < 20) return q.end(text);
            const at = r.between(1, text.length - 1);
            q.write(text.slice(0, at));
            setTimeout(() => (isOver ? 0 : q.end(text.slice(at))), r.between(1, 200));
        };
        if (expects) {
            q.once('continue', send);
            q.flushHeaders();
        } else {
            send();
        }
    });
}

// Several requests in one piece on one connection; the answers come in their order, unless the caller leaves before.
async function pipeline(base, r, requests) {
    const connection = rawConnection(base);
    await until(() => connection.socket.localPort || connection.hasEnded(), 5000);
    const entries = requests.map((q) => ({
        deployment: q.deployment, op: q.op, stream: q.body.stream === true, ask: q.ask, fault: q.headers['x-sim-fault'] ?? null,
        sent: now(), port: connection.socket.localPort, id: null, status: null, end: 'left', usage: null,
    }));
    const bytes = requests.map((q) => {
        const body = JSON.stringify(q.body);
        const fields = Object.entries(q.headers).map(([n, v]) => `${n}: ${v}\r\n`).join('');
        return `POST ${q.target} HTTP/1.1\r\nHost: localhost\r\napi-key: ${apiKey}\r\n${fields}` +
            `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    }).join('');
    connection.write(bytes);
    const answered = r.chance(0.3) ? r.below(requests.length) : requests.length;
    for (let i = 0; i < answered; i++) {
        const a = await connection.response({ ms: 30000 }).catch(() => null);
        const e = entries[i];
        if (!a) break;
        Object.assign(e, { id: a.headers['x-request-id'] ?? null, status: a.status, end: 'whole', done: now() });
        if (a.headers['retry-after-ms']) e.retryAfterMs = Number(a.headers['retry-after-ms']);
        if (a.status !== 200) continue;
        e.usage = usageOfText(a.body, e.stream);
        if (e.stream) e.deltas = deltasOfText(a.body);
    }
    connection.destroy();
    return entries.map((e) => ({ ...e, done: e.done ?? now() }));
}

// --- the drive ---

export async function drive({ folder, seconds = 60, seed = 1, workers = 12, loops = 2, say = () => {} }) {
    mkdirSync(folder, { recursive: true });
    const file = (name) => path.join(folder, name);
    for (const name of readdirSync(folder)) {
        if (/\.(jsonl|json|log(\.\d+)?)$/.test(name)) writeFileSync(file(name), '');
    }
    const note = (name, object) => appendFileSync(file(name), JSON.stringify(object) + '\n');
    const counts = {};
    const journal = (e) => {
        note('journal.jsonl', { run: runs.length, ...e });
        const kind = e.end === 'whole' ? e.status : e.end;
        counts[kind] = (counts[kind] ?? 0) + 1;
    };
    const runs = [];
    // What the servers are like: one steady, one paced, one at once and with the drain of its callers' leftovers.
    const servers = [
        await makeServer('steady', ['--profile', 'fast', '--time-scale', '4']),
        await makeServer('paced', ['--profile', 'gpt-4o', '--time-scale', '10']),
        await makeServer('instant', ['--profile', 'instant', '--fault', 'split:0.1,usage-every:0.05'], { onClientGone: 'drain' }),
    ];
    // The great call of fill() may wait long for its first byte on a busy machine; from then on it is less.
    const state = { deployments: firstDeployments(), backends: [servers[2]], firstByteTimeoutMs: 30000, nth: 1 };

    let gateway = null;
    const agents = [];

    async function startRun() {
        const n = runs.length + 1;
        const log = file(`run-${n}.access.log`);
        gateway = null;
        note('config.jsonl', { run: n, sent: now(), deployments: state.deployments });
        const g = await spawnGateway(null, {
            resources: resources(state), folder, loops,
            // The grace is much less than the patience with a silent server: at the end the former cuts off what is left.
            args: ['--access-log', log, '--drain-grace', '700ms', '--stall-timeout', '20s'],
        });
        note('config.jsonl', { run: n, acting: now(), deployments: state.deployments });
        runs.push({ log, rotated: 0, started: now(), isSanitized });
        gateway = g;
        agents.push(new http.Agent({ keepAlive: true, maxSockets: 200 }));
        await until(() => !connectionsOfOurs(), 10000);
        const { holdings: { descriptors } } = await sample('start', holdings());
        runs.at(-1).descriptors = descriptors;
    }

    // What the gateway says of a reload may be about one that an earlier signal asked for, so it is asked what is in force.
    const configure = async () => {
        state.nth++;
        note('config.jsonl', { run: runs.length, sent: now(), deployments: state.deployments });
        await gateway.configure(resources(state));
        await until(async () => (await gateway.debug('nth'))?.capacity === state.nth)
            .catch((e) => { throw new Error(`a configuration was refused: ${e.message}\n${gateway.stderr()}`); });
        note('config.jsonl', { run: runs.length, acting: now(), deployments: state.deployments });
    };

    function holdings() {
        const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8');
        const number = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1]);
        return { rssKib: number('VmRSS'), threads: number('Threads'), descriptors: readdirSync(`/proc/${gateway.pid}/fd`).length };
    }

    // How many connections there are at the address for operators. All are this process's, made to look.
    function connectionsOfOurs() {
        const port = Number(new URL(gateway.opsUrl).port).toString(16).toUpperCase().padStart(4, '0');
        const isListening = '0A', isWaiting = '06'; // the latter is over for both, and holds no descriptor
        return readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1).map((line) => line.trim().split(/\s+/))
            .filter(([, local, , state]) => local?.endsWith(`:${port}`) && ![isListening, isWaiting].includes(state)).length;
    }

    // `held`: what the gateway held when nobody looked; otherwise what it holds while it is asked.
    async function sample(kind, held) {
        const asked = now();
        // A connection of its own each time, so that none is left that counts.
        const get = async (what) => (await fetch(`${gateway.opsUrl}${what}`, { headers: { connection: 'close' } })).text();
        const { value, generation } = JSON.parse(await get('/debug/deployments'));
        const got = now();
        const text = await get('/metrics');
        const metrics = Object.fromEntries(text.split('\n').filter((l) => /^weir_(calls|access|refused|client)/.test(l))
            .map((l) => [l.slice(0, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));
        const s = {
            run: runs.length, kind, asked, got, generation, metrics, holdings: held ?? holdings(),
            deployments: Object.fromEntries(value.map((d) => [d.id.split('/').at(-1), d])),
        };
        note('samples.jsonl', s);
        return s;
    }

    // All that was sent is answered, given up or cut, and so says the gateway. Unused connections to servers go after 4 s.
    async function beQuiet() {
        agents.at(-1).destroy();
        agents.push(new http.Agent({ keepAlive: true, maxSockets: 200 }));
        await until(async () => (await gateway.metric('weir_calls_in_flight')) === 0, 60000);
        await until(async () => (await gateway.metric('weir_client_connections')) <= 1, 10000);
        // What was lost stays lost however long one waits; what is still being closed does not.
        const { descriptors } = runs.at(-1);
        let held = holdings();
        await until(() => (held = holdings()).descriptors <= descriptors, 20000).catch(() => {});
        await delay(300); // the log is handed over every 100 ms
        return sample('quiet', held);
    }

    // --- callers ---

    async function work(seed, until_) {
        const r = makeRandom(seed);
        while (now() < until_()) {
            const g = gateway, agent = agents.at(-1);
            const name = r.pick(['deep', 'deep', 'deep', 'deep', 'tiers', 'tiers', 'narrow', 'narrow', 'churn', 'churn', 'standard', 'embed']);
            const kind = r.next();
            const request = makeRequest(r, name);
            if (kind < 0.55) {
                journal(await call(g.url, agent, r, request));
            } else if (kind < 0.70) {
                journal(await call(g.url, agent, r, request, { leaves: { afterMs: r.chance(0.5) ? r.below(20) : r.below(600) } }));
            } else if (kind < 0.80) {
                journal(await call(g.url, agent, r, request, { leaves: { afterBytes: r.below(6000) } }));
            } else if (kind < 0.86) {
                journal(await call(g.url, agent, r, request, { isSlow: true, isChunked: r.chance(0.5) }));
            } else if (kind < 0.89) {
                journal(await call(g.url, false, r, request, { expects: r.chance(0.5) }));
            } else if (kind < 0.95) {
                const requests = Array.from({ length: r.between(2, 4) }, (_, i) => (i ? makeRequest(r, name) : request));
                for (const e of await pipeline(g.url, r, requests)) journal(e);
            } else {
                const bad = r.pick([
                    { ...request, body: '{"messages": ' }, { ...request, deployment: null, target: operations.chat('nowhere').target },
                    { ...request, deployment: null, target: '/openai/nothing' }, { ...request, body: { ...request.body, n: 'many' } },
                    null,
                ]);
                journal(bad ? await call(g.url, agent, r, bad) : await call(g.url, agent, r, request, { key: 'nobodys-key-at-all' }));
            }
            await delay(r.below(80));
        }
    }

    // Alone with a deployment: fills it, is refused, returns when told, and is admitted then.
    async function returnWhenTold(until_) {
        const r = makeRandom(seed + 99);
        let mark;
        while (now() < until_()) {
            const request = {
                ...operations.chat('alone'), deployment: 'alone', op: 'chat', ask: { api: 'chat', max_tokens: 400 }, mark,
                body: { messages: [{ role: 'user', content: marker }], max_tokens: 400 }, headers: { 'x-sim-output-tokens': String(r.between(100, 400)) },
            };
            const e = await call(gateway.url, agents.at(-1), r, request);
            const at = performance.now();
            journal(e);
            mark = undefined;
            if (e.status === 429 && e.retryAfterMs < 5000) {
                await delay(e.retryAfterMs);
                while (performance.now() < at + e.retryAfterMs) await delay(1); // timers may be early by a fraction
                mark = 'told';
            } else if (e.status !== 200) {
                await delay(200);
            }
        }
    }

    // --- what happens to them ---

    async function disturb(until_) {
        const r = makeRandom(seed + 77);
        const d = state.deployments;
        const first = ['resize', 'churn', 'rotate', 'kill'];
        let churnsAt = 0;
        while (now() < until_()) {
            await delay(r.between(200, 1500));
            if (now() >= until_()) break;
            const what = !d.churn && now() >= churnsAt ? 'churn' : first.shift() ??
                r.pick(['resize', 'resize', 'resize', 'churn', 'backends', 'broken', 'rotate', 'kill', 'kill', 'same']);
            if (what === 'resize') {
                d.deep = { ...d.deep, capacity: r.between(5, 20) };
                if (r.chance(0.5)) d.narrow = { ...d.narrow, capacity: 50 * r.between(1, 4) };
                if (r.chance(0.5)) d.tiers = { ...d.tiers, capacity: r.between(1, 30) };
                await configure();
            } else if (what === 'churn') {
                // Gone for 3 s and there for 3, so that it is clear to which of its lives a call belongs.
                if (now() < churnsAt) continue;
                if (d.churn) delete d.churn;
                else d.churn = { ...firstDeployments().churn, capacity: 50 * r.between(1, 4), windowMs: r.pick([undefined, 2000, 120000]) };
                await configure();
                churnsAt = now() + 3000;
            } else if (what === 'backends') {
                state.backends = servers.filter((s) => s.name === 'steady' || r.chance(0.7))
                    .map((s) => Object.assign(s, { weight: r.between(1, 3) }));
                await configure();
            } else if (what === 'broken') {
                const refused = () => (gateway.stderr().match(/configuration not reloaded/g) ?? []).length;
                const before = refused();
                await gateway.configure('[{"id": "/subscriptions/not-one"}, ');
                await until(() => refused() > before).catch(() => { throw new Error('a broken configuration was taken'); });
            } else if (what === 'same') {
                const said = () => (gateway.stderr().match(/configuration (not )?reloaded/g) ?? []).length;
                const before = said();
                for (let i = r.between(1, 4); i > 0; i--) gateway.signal('SIGHUP'); // several may become two, or one
                await until(() => said() > before, 20000);
            } else if (what === 'rotate') {
                const run = runs.at(-1);
                renameSync(run.log, `${run.log}.${++run.rotated}`);
                gateway.signal('SIGUSR1');
                await until(() => existsSync(run.log), 10000);
            } else if (what === 'kill') {
                const s = servers[r.between(1, 2)];
                await s.end('SIGKILL');
                await delay(r.between(200, 2500));
                await s.start();
            }
        }
        if (!d.churn) await delay(Math.max(0, churnsAt - now()));
        d.churn ??= firstDeployments().churn;
        state.backends = [...servers];
        await configure();
    }

    async function watch(until_) {
        while (now() < until_()) {
            await delay(1000);
            if (now() < until_()) await sample('busy').catch(() => {});
        }
    }

    // Everything at once until `end` (of the wall clock, or as a function).
    async function busy(end, { isDisturbed }) {
        const all = [returnWhenTold(end), watch(end)];
        for (let i = 0; i < workers; i++) all.push(work(seed * 1000 + runs.length * 100 + i, end));
        if (isDisturbed) all.push(disturb(end));
        await Promise.all(all);
    }

    // As much real work as nobody can drain meanwhile; no other call is there to see it.
    async function fill() {
        const r = makeRandom(seed + 5);
        const request = {
            ...operations.chat('deep'), deployment: 'deep', op: 'chat', ask: { api: 'chat', max_tokens: 1 }, mark: 'fill', headers: {},
            body: { messages: [{ role: 'user', content: `${marker} ${'river '.repeat(1500000)}` }], max_tokens: 1 },
        };
        const e = await call(gateway.url, false, r, request);
        journal(e);
        if (e.status !== 200) throw new Error(`the great call was answered ${e.status} ${e.end}`);
    }

    const ends = (s) => {
        const at = now() + s * 1000;
        return () => at;
    };
    try {
        // Run 1: long, disturbed, quiet at its end; then asked to end in the midst of calls.
        await startRun();
        await fill();
        state.backends = [...servers];
        state.firstByteTimeoutMs = 2500;
        await configure();
        await sample('filled');
        // Longer on a busy machine, where a share of all that is tried would not come up.
        const end = ends(seconds * 0.7)(), atMost = end + 60000;
        await busy(() => ((counts[200] ?? 0) < 300 ? Math.min(Math.max(end, now() + 1000), atMost) : end), { isDisturbed: true });
        let s = await beQuiet();
        say(`quiet after ${JSON.stringify(counts)}; ${JSON.stringify(s.holdings)}`);
        await endInTheMidst('SIGTERM');

        // Run 2: killed in the midst of calls, which may cost lines.
        await startRun();
        await endInTheMidst('SIGKILL');

        // Run 3: what was left of both; quiet, then a clean end.
        await startRun();
        await busy(ends(seconds * 0.1), { isDisturbed: false });
        s = await beQuiet();
        gateway.signal('SIGTERM');
        await finishRun('SIGTERM');
    } finally {
        gateway?.signal('SIGKILL');
        for (const s of servers) {
            const timer = setTimeout(() => s.end('SIGKILL'), 10000);
            await s.end('SIGTERM');
            clearTimeout(timer);
        }
        writeFileSync(file('servers.json'), JSON.stringify(servers.flatMap((s) => s.deaths)));
    }
    return { counts, runs };

    async function endInTheMidst(signal) {
        let end = now() + seconds * 100;
        const working = busy(() => end, { isDisturbed: false });
        await delay(seconds * 100);
        await sample('last').catch(() => {});
        end = 0; // each caller finishes the call in hand, and makes no more
        // One call at least is still in hand when the time to finish is over: its server has fallen silent.
        const silent = await beginSilence();
        gateway.signal(signal);
        await finishRun(signal);
        for (const entry of await Promise.all(silent)) journal(entry);
        await working;
        agents.at(-1).destroy();
    }

    // Calls until one is answered by a server that then falls silent: a deployment may be full, a server shunned.
    async function beginSilence() {
        const calls = [];
        for (let tries = 0; tries < 100; tries++, await delay(100)) {
            const name = ['deep', 'tiers', 'narrow'][tries % 3];
            const request = {
                ...operations.chat(name), deployment: name, op: 'chat', ask: { api: 'chat', max_tokens: 50 },
                body: { messages: [{ role: 'user', content: marker }], max_tokens: 50, stream: true },
                headers: { 'x-sim-fault': 'stall;after=2', 'x-sim-output-tokens': '50' },
            };
            const entry = await new Promise((begun) => {
                calls.push(call(gateway.url, false, makeRandom(seed + tries), request, { begun }));
            });
            if (entry?.status === 200) return calls;
        }
        throw new Error('no server could be brought to fall silent');
    }

    async function finishRun(signal) {
        const sent = now();
        const end = await gateway.ended;
        const n = runs.length, run = runs.at(-1), stderr = gateway.stderr();
        Object.assign(run, { signal, sent, ended: now(), code: end.code, by: end.signal });
        const levels = path.join(folder, 'data/levels.jsonl');
        if (existsSync(levels)) copyFileSync(levels, file(`run-${n}.levels.jsonl`));
        writeFileSync(file(`run-${n}.stderr`), stderr);
        run.hasComplaint = /Sanitizer|runtime error:|Assertion/.test(stderr);
        writeFileSync(file('runs.json'), JSON.stringify(runs));
        if (run.hasComplaint) say(stderr.slice(0, 6000));
        say(`run ${n} ended by ${signal} with ${end.code ?? end.signal}`);
    }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
    const [folder, seconds = '60', seed = '1'] = process.argv.slice(2);
    const { counts } = await drive({ folder, seconds: Number(seconds), seed: Number(seed), say: (s) => console.log(s) });
    console.log(JSON.stringify(counts));
    process.exit(0);
}
