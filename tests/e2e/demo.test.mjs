// demo.test.mjs - `weir demo`, and that it is no more than three commands that anybody can run by hand.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import OpenAI, { AzureOpenAI } from 'openai';
import { runWeir, spawnGateway, spawnSimulator, spawnWeir, tempFolder, until, weirBin } from './support.mjs';

// What a caller can see of a gateway: the same calls, their kinds of answers, without what differs by chance.
async function impression({ endpoint, apiKey }) {
    const azure = new AzureOpenAI({ endpoint, apiKey, apiVersion: '2024-10-21', maxRetries: 0 });
    const plain = new OpenAI({ baseURL: `${endpoint}/openai/v1`, apiKey, maxRetries: 0 });
    const messages = [{ role: 'user', content: 'Tell me of weirs. [[echo:A weir holds a river at a level.]]' }];
    const seen = {};
    const note = async (name, promise) => {
        const { data, response } = await promise.withResponse();
        const headers = [...response.headers.keys()].filter((h) => h.startsWith('x-') || h.startsWith('azure') || h.startsWith('apim')).sort();
        seen[name] = { headers, region: response.headers.get('x-ms-region') };
        return data;
    };
    const chat = await note('chat', azure.chat.completions.create({ model: 'gpt-4o', messages }));
    seen.text = chat.choices[0].message.content;
    seen.usage = chat.usage;
    seen.model = chat.model;
    const stream = await note('stream', azure.chat.completions.create({ model: 'gpt-4o', messages, stream: true }));
    seen.streamed = '';
    for await (const c of stream) seen.streamed += c.choices[0]?.delta?.content ?? '';
    await note('standard', plain.chat.completions.create({ model: 'gpt-4o-standard', messages }));
    const embedding = await note('embedding', plain.embeddings.create({ model: 'text-embedding-3-small', input: 'weir' }));
    seen.dimensions = embedding.data[0].embedding.length;
    seen.first = embedding.data[0].embedding[0];
    seen.models = (await plain.models.list()).data.map((m) => m.id).sort();
    seen.full = await azure.chat.completions.create({ model: 'gpt-4o', messages, max_tokens: 50000 }).then(
        () => azure.chat.completions.create({ model: 'gpt-4o', messages }).then(() => 'admitted', (e) => e.status), (e) => e.status);
    return seen;
}

function readIf(file) {
    try {
        return readFileSync(file, 'utf8');
    } catch {
        return ''; // gone, or not ours to read
    }
}

const parentOf = (pid) => Number(readIf(`/proc/${pid}/stat`).split(') ')[1]?.split(' ')[1]);

describe('weir demo', () => {
    test('--json prints one line with the documented keys, the SDK works, and nothing is left behind', async () => {
        const demo = await spawnWeir(['demo', '--json', '--listen', '127.0.0.1:0']);
        const children = readdirSync('/proc').filter((p) => parentOf(p) === demo.pid);
        assert.equal(children.length, 2, 'two simulated servers');
        assert.deepEqual(Object.keys(demo.json).sort(), ['account', 'apiKey', 'caFile', 'clientId', 'clientSecret', 'controlEndpoint',
            'deployments', 'endpoint', 'location', 'opsEndpoint', 'resourceGroup', 'subscriptionId', 'tenantId']);
        assert.deepEqual(demo.json.deployments, ['gpt-4o', 'gpt-4o-standard', 'text-embedding-3-small']);
        assert.match(demo.json.endpoint, /^http:\/\/127\.0\.0\.1:\d+$/);
        assert.ok(demo.json.apiKey.length >= 32);
        const ready = await fetch(`${demo.json.opsEndpoint}/readyz`);
        assert.equal(ready.status, 200);
        const folder = readdirSync('/tmp').filter((n) => n.startsWith('weir-demo-')).map((n) => path.join('/tmp', n))
            .find((f) => readIf(path.join(f, 'resources.json')).includes(demo.json.apiKey));
        assert.ok(folder);
        const seen = await impression(demo.json);
        assert.equal(seen.text, 'A weir holds a river at a level.');
        assert.equal(seen.streamed, seen.text);
        assert.deepEqual(await demo.stop(), { code: 0, signal: null });
        await until(() => children.every((p) => !existsSync(`/proc/${p}`)));
        assert.ok(!existsSync(folder));
    });

    test('is what two simulators, a resource file and a gateway are by hand', async (t) => {
        const demo = await spawnWeir(['demo', '--json', '--listen', '127.0.0.1:0']);
        t.after(() => demo.stop());
        const sims = [];
        for (let i = 0; i < 2; i++) sims.push(await spawnSimulator(t, '--profile', 'gpt-4o', '--prompt-cache'));
        const apiKey = 'a-key-that-was-made-by-hand';
        const account = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/demo/providers/Microsoft.CognitiveServices/accounts/demo';
        const deployed = (name, model, version, sku, capacity) => ({
            id: `${account}/deployments/${name}`, sku: { name: sku, capacity },
            properties: { model: { format: 'OpenAI', name: model, version } },
        });
        const gateway = await spawnGateway(t, {
            resources: [
                { id: '/subscriptions/00000000-0000-0000-0000-000000000001', displayName: 'Demo' },
                { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US' } },
                {
                    id: '/providers/Weir.Capacity/pools/simulated', location: 'eastus',
                    properties: { ptus: 500, models: [{ name: 'gpt-4o' }, { name: 'text-embedding-3-small' }] },
                },
                ...sims.map((s, i) => ({ id: `/providers/Weir.Capacity/pools/simulated/backends/sim${i + 1}`, properties: { url: s.url } })),
                {
                    id: account, kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' },
                    properties: { customSubDomainName: 'demo', keys: { key1: apiKey } },
                },
                deployed('gpt-4o', 'gpt-4o', '2024-08-06', 'ProvisionedManaged', 50),
                deployed('gpt-4o-standard', 'gpt-4o', '2024-08-06', 'Standard', 30),
                deployed('text-embedding-3-small', 'text-embedding-3-small', '1', 'Standard', 30),
            ],
        });
        const byHand = await impression({ endpoint: gateway.url, apiKey });
        assert.deepEqual(await impression(demo.json), byHand);
        assert.deepEqual(byHand.models, demo.json.deployments);
    });

    test('tells a person how to call it, and the call works as printed', async (t) => {
        const folder = tempFolder();
        const demo = spawnText(['demo', '--listen', '127.0.0.1:0']);
        t.after(() => demo.stop());
        const text = await until(() => /Ctrl-C/.test(demo.stdout()) && demo.stdout());
        const url = /endpoint +(\S+)/.exec(text)[1], key = /key +(\S+)/.exec(text)[1];
        assert.ok(text.includes('curl -N') && text.includes(key) && text.includes('AzureOpenAI'));
        const command = text.slice(text.indexOf('curl -N'), text.indexOf('import {')).trim();
        writeFileSync(path.join(folder, 'call.sh'), `${command.replace('curl -N', 'curl -sN')}\n`);
        const run = spawnSync('sh', [path.join(folder, 'call.sh')], { encoding: 'utf8' });
        if (run.error || run.status === 127) return t.skip('no curl here');
        assert.ok(run.stdout.trimEnd().endsWith('data: [DONE]'), run.stdout + run.stderr);
        assert.ok(url.startsWith('http://127.0.0.1:'));
    });

    test('says when its address is taken, or makes no sense', async (t) => {
        const server = net.createServer();
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.after(() => server.close());
        const address = `127.0.0.1:${server.address().port}`;
        const taken = await runWeir(['demo', '--json', '--listen', address]);
        assert.equal(taken.code, 1);
        assert.ok(taken.stderr.includes(address), taken.stderr);
        assert.equal(taken.stdout, '');
        const nonsense = await runWeir(['demo', '--listen', 'here']);
        assert.equal(nonsense.code, 1);
        assert.match(nonsense.stderr, /"here" is not an address; expected HOST:PORT/);
        const unknown = await runWeir(['demo', '--jsn']);
        assert.equal(unknown.code, 2);
        assert.match(unknown.stderr, /did you mean --json/);
    });
});

// A command that prints for people.
function spawnText(args) {
    const child = spawn(weirBin, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (s) => (stdout += s));
    child.stderr.resume();
    const ended = new Promise((resolve) => child.on('close', resolve));
    return {
        stdout: () => stdout,
        stop: () => {
            child.kill('SIGTERM');
            return ended;
        },
    };
}
