// support.mjs - what the end-to-end tests share: the binary as a child, server-sent events, waiting.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const top = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

// The binary under test: $WEIR_BIN, else that of the ordinary build.
export const weirBin = path.resolve(process.env.WEIR_BIN ?? path.join(top, 'build/weir'));
// Sanitizers keep freed memory for a while, so what the process holds says nothing.
export const isSanitized = readFileSync(weirBin).includes('__sanitizer_');

const running = new Set();
process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
});

// How long to wait for what must come, in ms, unless a test says otherwise. It costs time only where a test fails, so
// it is what a busy machine of two cores needs, under sanitizers, and still less than the default of drain-grace.
const patience = 25000;

// Runs `weir ARGS` to its end: { code, signal, stdout, stderr }.
export async function runWeir(args, { env = {}, timeoutMs = 120000 } = {}) {
    const child = spawn(weirBin, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '', stderr = '';
    child.stdout.setEncoding('utf8').on('data', (s) => (stdout += s));
    child.stderr.setEncoding('utf8').on('data', (s) => (stderr += s));
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const [code, signal] = await once(child, 'close');
    clearTimeout(timer);
    return { code, signal, stdout, stderr };
}

// Starts `weir ARGS` (which should hold --json) and waits for its first line on stdout, a JSON object.
//   json      that object
//   url       its `endpoint`
//   stderr()  what it has said there so far
//   stop()    SIGTERM, then the end: { code, signal }. After `graceMs` SIGKILL.
//   signal(s) sends a signal; ended is a promise of { code, signal }
export async function spawnWeir(args, { env = {}, readyMs = 60000 } = {}) {
    const child = spawn(weirBin, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let stdout = '', stderr = '';
    child.stderr.setEncoding('utf8').on('data', (s) => (stderr += s));
    const ended = new Promise((resolve) => {
        child.once('close', (code, signal) => {
            running.delete(child);
            resolve({ code, signal });
        });
    });
    const json = await new Promise((resolve, reject) => {
        const fail = (why) => {
            clearTimeout(timer);
            child.kill('SIGKILL');
            reject(new Error(`weir ${args.join(' ')}: ${why}\n${stdout}${stderr}`));
        };
        const timer = setTimeout(() => fail(`not ready within ${readyMs} ms`), readyMs);
        child.on('error', (e) => fail(e.message));
        ended.then(({ code, signal }) => fail(`ended early (${signal ?? code})`));
        child.stdout.setEncoding('utf8').on('data', (s) => {
            stdout += s;
            const end = stdout.indexOf('\n');
            if (end < 0) return;
            clearTimeout(timer);
            try {
                resolve(JSON.parse(stdout.slice(0, end)));
            } catch {
                fail('its first line is no JSON');
            }
        });
    });
    return {
        json,
        url: json.endpoint,
        pid: child.pid,
        ended,
        stderr: () => stderr,
        signal: (s) => child.kill(s),
        async stop(graceMs = patience) {
            if (child.exitCode !== null || child.signalCode !== null) return ended;
            child.kill('SIGTERM');
            const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
            const end = await ended;
            clearTimeout(timer);
            return end;
        },
    };
}

// A simulated model server for other tests. `t` is the test (or anything with after()).
export async function spawnSimulator(t, ...args) {
    const sim = await spawnWeir(['simulate', '--json', '--listen', '127.0.0.1:0', ...args]);
    t?.after?.(() => sim.stop());
    sim.stats = async () => (await fetch(`${sim.url}/sim/stats`)).json();
    return sim;
}

// Reads a response to its end: { events: [{event, data}], text, times }, `text` being the bytes as UTF-8 and
// `times` when each event was complete, in ms since the call. A broken connection sets `error`.
export async function readSse(response) {
    const start = performance.now();
    const decoder = new TextDecoder();
    const events = [], times = [];
    let text = '', parsed = 0, error = null;
    try {
        for await (const piece of response.body) {
            text += decoder.decode(piece, { stream: true });
            for (;;) {
                const rest = text.slice(parsed);
                const end = /\r?\n\r?\n/.exec(rest);
                if (!end) break;
                const event = { event: null, data: '' };
                for (const line of rest.slice(0, end.index).split(/\r?\n/)) {
                    if (line.startsWith('event: ')) event.event = line.slice(7);
                    if (line.startsWith('data: ')) event.data += line.slice(6);
                }
                events.push(event);
                times.push(performance.now() - start);
                parsed += end.index + end[0].length;
            }
        }
    } catch (e) {
        error = e;
    }
    return { events, times, text, rest: text.slice(parsed), error };
}

// The text that the chunks of a chat stream make, for one choice.
export function textOf(events, choice = 0) {
    return events
        .filter((e) => e.data.startsWith('{'))
        .flatMap((e) => JSON.parse(e.data).choices ?? [])
        .filter((c) => c.index === choice)
        .map((c) => c.delta?.content ?? c.text ?? '')
        .join('');
}

// A port that nobody listens on. It lies below those that the system gives out by itself, so that nobody else gets it
// while it is free.
export async function freePort() {
    const [first] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t').map(Number);
    const lowest = 10000, n = Math.max(first, 20000) - lowest;
    for (;;) {
        const port = lowest + Math.floor(Math.random() * n);
        const server = net.createServer();
        const isFree = await new Promise((resolve) => {
            server.on('error', () => resolve(false));
            server.listen(port, '127.0.0.1', () => resolve(true));
        });
        if (!isFree) continue;
        server.close();
        await once(server, 'close');
        return port;
    }
}

// Sends bytes over TCP and gives what comes back until the peer closes or `ms` passed.
export async function rawExchange(url, bytes, ms = patience) {
    const { hostname, port } = new URL(url);
    const socket = net.connect(Number(port), hostname);
    const pieces = [];
    let isClosed = false;
    socket.on('error', () => {});
    socket.on('data', (d) => pieces.push(d));
    const closed = once(socket, 'close').then(() => (isClosed = true));
    socket.write(bytes);
    await Promise.race([closed, delay(ms)]);
    socket.destroy();
    return { bytes: Buffer.concat(pieces), isClosed };
}

export function delay(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
}

// Waits until `fn` gives something true, and gives it; throws after `ms`.
export async function until(fn, ms = patience) {
    const end = performance.now() + ms;
    for (;;) {
        const value = await fn();
        if (value) return value;
        if (performance.now() > end) throw new Error(`did not come true within ${ms} ms: ${fn}`);
        await delay(10);
    }
}

// For what must not take long: `fn(attempt)` gives null when it did not, else how long it took, and may try again. A
// busy machine is slow now and then; what is slow by itself is slow each time. All else that it asserts counts at once.
export async function withinTime(fn) {
    for (let attempt = 0; ; attempt++) {
        const late = await fn(attempt);
        if (late === null) return;
        if (attempt === 14) throw new Error(`each time: ${late}`);
    }
}

// --- the gateway ---

// The key of the account that resourceSet() makes.
export const apiKey = 'key-of-the-end-to-end-tests';

const account =
    '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/tests' +
    '/providers/Microsoft.CognitiveServices/accounts/tests';
const versions = { 'gpt-4o': '2024-08-06', 'gpt-4o-mini': '2024-07-18', 'text-embedding-3-small': '1' };

// One resource: a deployment of the account of resourceSet().
export function deployment(name, { sku = 'ProvisionedManaged', capacity = 50, model = 'gpt-4o', ...properties } = {}) {
    return {
        id: `${account}/deployments/${name}`,
        sku: { name: sku, capacity },
        properties: { model: { format: 'OpenAI', name: model, version: versions[model] }, ...properties },
    };
}

// The deployments that most tests use.
export const usualDeployments = () => [
    deployment('ptu'),
    deployment('standard', { sku: 'Standard', capacity: 100 }),
    deployment('embed', { sku: 'Standard', capacity: 100, model: 'text-embedding-3-small' }),
];

// Resources in full: one account, one pool with `backends` (a url or the properties of each), the deployments given.
export function resourceSet(backends, deployments = usualDeployments()) {
    return [
        { id: '/subscriptions/00000000-0000-0000-0000-000000000001', displayName: 'Tests' },
        { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US', dataZone: 'us' } },
        {
            id: '/providers/Weir.Capacity/pools/tests',
            location: 'eastus',
            properties: { ptus: 100000, models: Object.keys(versions).map((name) => ({ name })) },
        },
        ...backends.map((b, i) => ({
            id: `/providers/Weir.Capacity/pools/tests/backends/b${i + 1}`,
            properties: typeof b === 'string' ? { url: b } : b,
        })),
        {
            id: account, kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' },
            properties: { customSubDomainName: 'tests', keys: { key1: apiKey } },
        },
        ...deployments,
    ];
}

// A folder that goes with the process. Not with the test: what is registered first is undone first, and a gateway that
// still runs then would write into it while it is being removed.
const folders = [];
process.on('exit', () => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
});
export function tempFolder() {
    folders.push(mkdtempSync(path.join(tmpdir(), 'weir-e2e-')));
    return folders.at(-1);
}

// A kept connection may be closed by its idle time in the moment in which it is used again.
const closing = { headers: { connection: 'close' } };

// Starts `weir serve` on `resources` (an array, see resourceSet) and free ports. Beside what spawnWeir's handle has:
//   url, tlsUrl, opsUrl   tlsUrl only with --tls-listen among `args`
//   folder                with resources.json, data/ and access.log
//   configure(resources)  writes them and sends SIGHUP; waits until they are read, or refused: true when they act
//   lines()               what the access log has, parsed; settled(n, name): the same (of one deployment), as soon as there are n
//   debug(name)           the counters of one deployment; metric(name): a sum from /metrics
export async function spawnGateway(t, { resources, args = [], env = {}, folder = tempFolder(), loops = 1, mayFail = false, files = 0 }) {
    const file = path.join(folder, 'resources.json');
    const logFile = path.join(folder, 'access.log');
    if (resources) writeFileSync(file, JSON.stringify(resources));
    const all = [
        'serve', '--resources', file, '--listen', '127.0.0.1:0', '--ops-listen', '127.0.0.1:0',
        '--data-dir', path.join(folder, 'data'), '--access-log', logFile, '--loops', String(loops), ...args,
    ];
    // `files`: how many it may have open at once.
    const child = spawn(...(files ? ['sh', ['-c', `ulimit -n ${files}; exec "$0" "$@"`, weirBin, ...all]] : [weirBin, all]), { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let stderr = '';
    child.stdout.resume();
    child.stderr.setEncoding('utf8').on('data', (s) => (stderr += s));
    const ended = new Promise((resolve) => {
        child.once('close', (code, signal) => {
            running.delete(child);
            resolve({ code, signal });
        });
    });
    let hasEnded = false;
    ended.then(() => (hasEnded = true));
    const isReady = await until(() => hasEnded || /operations on .*\n/.test(stderr), 60000).catch(() => false);
    if (!isReady || (hasEnded && !mayFail)) {
        for (const other of running) other.kill('SIGKILL'); // or they would keep the failed test file running
        throw new Error(`weir ${all.join(' ')} ${isReady ? 'ended early' : 'is not ready'}\n${stderr}`);
    }
    const address = (what) => new RegExp(`${what} on (\\S+)`).exec(stderr)?.[1];
    const gateway = {
        url: address('calls'),
        tlsUrl: /calls on (https:\S+)/.exec(stderr)?.[1],
        opsUrl: address('operations'),
        pid: child.pid,
        folder, ended, logFile,
        stderr: () => stderr,
        hasEnded: () => hasEnded,
        signal: (s) => child.kill(s),
        async stop(graceMs = patience) {
            if (!hasEnded) child.kill('SIGTERM');
            const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
            const end = await ended;
            clearTimeout(timer);
            return end;
        },
        async configure(next) {
            const said = () => (stderr.match(/configuration (not )?reloaded/g) ?? []);
            const before = said().length;
            writeFileSync(file, typeof next === 'string' ? next : JSON.stringify(next));
            child.kill('SIGHUP');
            await until(() => hasEnded || said().length > before);
            if (hasEnded) throw new Error(`weir has ended\n${stderr}`);
            return said().at(-1) === 'configuration reloaded';
        },
        lines: () => readLines(logFile),
        async settled(n, name = null) {
            const lines = () => gateway.lines().filter((l) => name === null || l.deployment === name);
            return until(() => lines().length >= n && lines());
        },
        async debug(name = 'ptu') {
            const { value } = await (await fetch(`${gateway.opsUrl}/debug/deployments`, closing)).json();
            return value.find((d) => d.id.endsWith(`/deployments/${name}`));
        },
        async metric(name) {
            const text = await (await fetch(`${gateway.opsUrl}/metrics`, closing)).text();
            return [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))]
                .reduce((sum, m) => sum + Number(m[1]), 0);
        },
    };
    t?.after?.(async () => {
        const end = await gateway.stop();
        if (/ERROR: \w+Sanitizer|runtime error:/.test(stderr)) throw new Error(stderr);
        if (end.signal && end.signal !== 'SIGKILL' && !mayFail) throw new Error(`weir died of ${end.signal}\n${stderr}`);
    });
    return gateway;
}

// The lines of a file of JSON lines; none when there is no such file. What follows the last line feed is still being
// written.
export function readLines(file) {
    try {
        return readFileSync(file, 'utf8').split('\n').slice(0, -1).filter(Boolean).map((line) => JSON.parse(line));
    } catch (e) {
        if (e.code === 'ENOENT') return [];
        throw e;
    }
}

// A chat call without an SDK, as Azure's clients make it.
export function chatCall(gateway, body = {}, { headers = {}, to = 'ptu', signal } = {}) {
    return fetch(`${gateway.url}/openai/deployments/${to}/chat/completions?api-version=2024-10-21`, {
        method: 'POST', signal,
        headers: { 'content-type': 'application/json', 'api-key': apiKey, ...headers },
        body: typeof body === 'string' ? body : JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...body }),
    });
}

// The bytes of a request. `body` may be text, bytes or an object; Host and Content-Length are added unless given.
export function requestBytes(target, body, { method = body === undefined ? 'GET' : 'POST', headers = {} } = {}) {
    const bytes = body === undefined ? Buffer.alloc(0)
        : Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
    const all = { host: 'localhost', 'api-key': apiKey, ...headers };
    const names = Object.keys(all).map((name) => name.toLowerCase());
    if (body !== undefined && !names.includes('content-length') && !names.includes('transfer-encoding'))
        all['content-length'] = bytes.length;
    const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    return Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\n${head}\r\n`), bytes]);
}

export const chatTarget = (to = 'ptu') => `/openai/deployments/${to}/chat/completions?api-version=2024-10-21`;

// A connection by hand, for HTTP as no library would send it.
//   write(bytes), end(), destroy(), reset()
//   response({ isHead }): the next answer { status, headers, body }; null when the connection ended before it
//   closed: a promise; bytes(): everything that came
export function rawConnection(url, socket = null) {
    const { hostname, port } = new URL(url);
    socket ??= net.connect({ host: hostname, port: Number(port), allowHalfOpen: true, noDelay: true });
    let all = Buffer.alloc(0), pieces = [], parsed = 0, hasEnded = false;
    const bytes = () => { // put together when somebody looks: large answers come in many pieces
        if (pieces.length > 0) all = Buffer.concat([all, ...pieces.splice(0)]);
        return all;
    };
    const closed = once(socket, 'close').catch(() => {}).then(() => (hasEnded = true));
    socket.on('error', () => {});
    socket.on('data', (d) => pieces.push(d));
    socket.on('end', () => (hasEnded = true));
    return {
        socket, closed,
        write: (bytes) => socket.write(bytes),
        end: () => socket.end(),
        destroy: () => socket.destroy(),
        reset: () => socket.resetAndDestroy(),
        bytes,
        hasEnded: () => hasEnded,
        async response({ isHead = false, ms = patience } = {}) {
            return until(() => {
                const found = parseAnswer(bytes().subarray(parsed), isHead, hasEnded);
                if (found) parsed += found.length;
                return found ? found.answer : hasEnded && { ended: true };
            }, ms).then((answer) => (answer.ended ? null : answer));
        },
    };
}

// One whole answer at the beginning of `bytes`: { answer, length }, or null.
function parseAnswer(bytes, isHead, hasEnded) {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) return null;
    const [first, ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
    const headers = Object.fromEntries(lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]));
    const status = Number(first.split(' ')[1]);
    const pieces = []; // the chunks of a chunked body
    const done = (body, length) => ({
        answer: { status, first, headers, body: body.toString(), pieces, json: () => JSON.parse(body) }, length,
    });
    let at = end + 4;
    if (isHead || status < 200 || status === 204 || status === 304) return done(Buffer.alloc(0), at);
    if (headers['transfer-encoding'] !== 'chunked') {
        const n = headers['content-length'] === undefined ? NaN : Number(headers['content-length']);
        if (Number.isNaN(n)) return hasEnded ? done(bytes.subarray(at), bytes.length) : null;
        return bytes.length - at >= n ? done(bytes.subarray(at, at + n), at + n) : null;
    }
    for (;;) {
        const lf = bytes.indexOf('\r\n', at);
        if (lf < 0) return null;
        const n = parseInt(bytes.subarray(at, lf).toString('latin1'), 16);
        if (bytes.length < lf + 2 + n + 2) return null;
        pieces.push(bytes.subarray(lf + 2, lf + 2 + n));
        at = lf + 2 + n + 2;
        if (n === 0) return done(Buffer.concat(pieces), at);
    }
}

// --- fake model servers ---

// A backend of which a test decides every byte. `handle(request)` is called for each request with
//   { method, target, headers, body, json, socket, connection, write(bytes) }
// connections: [{ socket, openedAt, closedAt, requests }] in order, times of performance.now().
export async function fakeBackend(t, handle) {
    const connections = [];
    const requests = [];
    const server = net.createServer({ allowHalfOpen: false, noDelay: true }, (socket) => {
        const connection = { socket, openedAt: performance.now(), closedAt: null, endedAt: null, requests: 0 };
        connections.push(connection);
        let all = Buffer.alloc(0);
        socket.on('error', () => {});
        socket.on('end', () => (connection.endedAt = performance.now()));
        socket.on('close', () => (connection.closedAt = performance.now()));
        socket.on('data', (d) => {
            all = Buffer.concat([all, d]);
            for (;;) {
                const end = all.indexOf('\r\n\r\n');
                if (end < 0) return;
                const [first, ...lines] = all.subarray(0, end).toString('latin1').split('\r\n');
                const headers = Object.fromEntries(
                    lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]));
                const n = Number(headers['content-length'] ?? 0);
                if (all.length < end + 4 + n) return;
                const body = all.subarray(end + 4, end + 4 + n).toString();
                all = all.subarray(end + 4 + n);
                const [method, target] = first.split(' ');
                const request = {
                    method, target, headers, body, socket, connection, lines,
                    json: () => JSON.parse(body),
                    write: (bytes) => socket.writable && socket.write(bytes),
                };
                connection.requests++;
                requests.push(request);
                handle(request);
            }
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const stop = async () => {
        server.close();
        for (const c of connections) c.socket.destroy();
    };
    t?.after?.(stop);
    return { url: `http://127.0.0.1:${server.address().port}`, port: server.address().port, connections, requests, server, stop };
}

// A whole answer with a length; a head of a stream in chunks; one chunk of it.
export function answerBytes(body, { status = 200, type = 'application/json', headers = {} } = {}) {
    const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
    const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const head = `HTTP/1.1 ${status} X\r\ncontent-type: ${type}\r\ncontent-length: ${bytes.length}\r\n${more}\r\n`;
    return Buffer.concat([Buffer.from(head), bytes]);
}
export const streamHead = (headers = '') =>
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n${headers}\r\n`;
export function chunk(text) {
    const bytes = Buffer.from(text);
    return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}
export const lastChunk = '0\r\n\r\n';

// The events that an OpenAI-like server streams.
export const eventOf = (object) => `data: ${typeof object === 'string' ? object : JSON.stringify(object)}\n\n`;
export const deltaOf = (content, more = {}) => ({
    id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-4o-2024-08-06',
    choices: [{ index: 0, delta: { content }, finish_reason: null, ...more }],
});
export const usageOf = (prompt_tokens, completion_tokens, more = {}) => ({
    prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens, ...more,
});
export const completionOf = (content, usage) => ({
    id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'gpt-4o-2024-08-06',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop', logprobs: null }],
    ...(usage ? { usage } : {}),
});
