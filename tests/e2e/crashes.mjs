// crashes.mjs - kills a gateway in a stream of changes and looks at what is there afterwards.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import { lossyDisk } from './lossy_disk.mjs';
import { spawnGateway, tempFolder, until } from './support.mjs';

const subscription = '00000000-0000-0000-0000-000000000001';
const account = `/subscriptions/${subscription}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acct`;
const usages = `/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages`;
const resources = [
    { id: `/subscriptions/${subscription}`, displayName: 'Crashes' },
    { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US', dataZone: 'us' } },
    { id: '/providers/Weir.Capacity/pools/p', location: 'eastus', properties: { ptus: 1000000, models: [{ name: 'gpt-4o' }] } },
    { id: '/providers/Weir.Capacity/pools/p/backends/b', properties: { url: 'http://127.0.0.1:9' } },
];
const writers = 4, namesOfEach = 5;

// A repeatable source of numbers in [0, 1).
function random(seed) {
    let state = BigInt(seed);
    return () => {
        state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
        return Number(state >> 11n) / 2 ** 53;
    };
}

// A gateway that was started, and how to ask its control plane over kept connections.
async function start(t, folder, disk) {
    const gateway = await spawnGateway(t, { resources, folder, env: disk.env, args: ['--control-listen', '127.0.0.1:0'] });
    const control = JSON.parse(readFileSync(path.join(folder, 'data/operator.json')));
    const agent = new https.Agent({ keepAlive: true, ca: readFileSync(control.caFile) });
    const headers = { 'content-type': 'application/json' };
    const ask = (method, target, body) => new Promise((resolve, reject) => {
        const q = https.request(control.controlEndpoint + target, { method, agent, headers }, (a) => {
            let text = '';
            a.setEncoding('utf8').on('data', (d) => (text += d)).on('error', reject);
            a.on('end', () => resolve({ status: a.statusCode, text, json: () => JSON.parse(text) }));
        });
        q.on('error', reject);
        q.end(typeof body === 'string' ? body : body && JSON.stringify(body));
    });
    const token = await ask('POST', '/adfs/oauth2/token', String(new URLSearchParams({
        grant_type: 'client_credentials', client_id: control.clientId, client_secret: control.clientSecret, scope: `${control.controlEndpoint}/.default`,
    })));
    assert.equal(token.status, 200, token.text);
    headers.authorization = `Bearer ${token.json().access_token}`;
    return { gateway, agent, ask: (method, target, body) => ask(method, `${target}?api-version=2025-09-01`, body) };
}

// One writer's changes of its own deployments, until the gateway is gone. `wanted` gets, for each name, the sizes that may be
// there: one when the last change was answered, two while it is on its way; 0 is none.
async function write(c, w, r, wanted, onAnswer) {
    for (;;) {
        const name = `d${w}-${Math.floor(r() * namesOfEach)}`, size = r() < 0.25 ? 0 : 50 * (1 + Math.floor(r() * 3));
        const before = wanted.get(name) ?? [0];
        wanted.set(name, [...before, size]);
        const a = await (size === 0 ? c.ask('DELETE', `${account}/deployments/${name}`) : c.ask('PUT', `${account}/deployments/${name}`, {
            sku: { name: 'ProvisionedManaged', capacity: size },
            properties: { model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' } },
        })).catch(() => null);
        if (!a) return;
        const isRefused = a.status === 400 && a.json().error.code === 'InsufficientQuota'; // all writers share one quota
        assert.ok(isRefused || [200, 201, 202, 204].includes(a.status), `${name} to ${size}: ${a.status} ${a.text}`);
        wanted.set(name, isRefused ? before : [size]);
        onAnswer();
    }
}

// What is there after a restart, against what was answered before; wanted becomes what is there.
async function compare(c, wanted) {
    const found = new Map((await c.ask('GET', `${account}/deployments`)).json().value.map((d) => [d.name, d]));
    let sum = 0;
    for (const name of new Set([...wanted.keys(), ...found.keys()])) {
        const size = found.get(name)?.sku.capacity ?? 0;
        assert.ok((wanted.get(name) ?? [0]).includes(size), `${name} is ${size}, not one of ${wanted.get(name)}`);
        wanted.set(name, [size]);
        sum += size;
    }
    const used = (await c.ask('GET', usages)).json().value.find((u) => u.name.value === 'OpenAI.ProvisionedManaged');
    assert.equal(used.currentValue, sum, 'quota in use is what the deployments have');
    await until(async () => (await c.ask('GET', `${account}/deployments`)).json().value
        .every((d) => d.properties.provisioningState === 'Succeeded'), 20000);
}

export function crashes({ kills, seed }) {
    return test(`${kills} kills lose nothing that was answered, and leave nothing by half (seed ${seed})`, { timeout: 280000 }, async (t) => {
        const folder = tempFolder(), disk = lossyDisk(folder), r = random(seed), wanted = new Map();
        let c = await start(t, folder, disk), nForgotten = 0, nAnswers = 0;
        for (const [target, body] of [[`/subscriptions/${subscription}/resourceGroups/rg`, { location: 'eastus' }],
            [account, { kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' }, properties: {} }]]) {
            const made = await c.ask('PUT', target, body);
            assert.equal(made.status, 201, made.text);
        }
        for (let i = 0; i < kills; i++) {
            let left = 1 + Math.floor(r() * 40);
            const { gateway } = c;
            await Promise.all(Array.from({ length: writers }, (_, w) => write(c, w, r, wanted, () => {
                nAnswers++;
                // Anywhere in what is going on then.
                if (--left === 0) setTimeout(() => gateway.signal('SIGKILL'), r() * 8);
            })));
            await gateway.ended;
            c.agent.destroy();
            nForgotten += disk.forget(r);
            c = await start(t, folder, disk);
            await compare(c, wanted);
        }
        c.agent.destroy();
        await c.gateway.stop();
        assert.ok(nAnswers >= kills);
        t.diagnostic(`${nAnswers} changes answered, ${nForgotten} writes forgotten`);
    });
}
