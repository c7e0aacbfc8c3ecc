// control.test.mjs - the control plane, by Azure's own packages and by plain requests.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chatCall, runWeir, spawnGateway, spawnSimulator, tempFolder, until } from './support.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const subscription = '00000000-0000-0000-0000-000000000001';

// What an operator has before the first tenant comes.
const operatorsResources = (backend, ptus = 500) => [
    { id: `/subscriptions/${subscription}`, displayName: 'Tests' },
    { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US', dataZone: 'us' } },
    {
        id: '/providers/Weir.Capacity/pools/tests', location: 'eastus',
        properties: { ptus, models: [{ name: 'gpt-4o' }, { name: 'text-embedding-3-small' }] },
    },
    { id: '/providers/Weir.Capacity/pools/tests/backends/b1', properties: { url: backend } },
];

// Starts a gateway with a control plane; its handle, and what operator.json says.
async function spawnControl(t, { resources, folder = tempFolder(t), ...more }) {
    const gateway = await spawnGateway(t, { resources, folder, ...more, args: ['--control-listen', '127.0.0.1:0', ...(more.args ?? [])] });
    const control = JSON.parse(readFileSync(path.join(folder, 'data/operator.json')));
    return { gateway, control, dataDir: path.join(folder, 'data') };
}

// One request to the control plane without any client: { status, headers, body, json }.
function ask({ control, token }, method, target, body, headers = {}) {
    return new Promise((resolve, reject) => {
        const q = https.request(control.controlEndpoint + target, {
            method, ca: readFileSync(control.caFile),
            headers: {
                ...(token ? { authorization: `Bearer ${token}` } : {}),
                ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers,
            },
        }, (a) => {
            let text = '';
            a.setEncoding('utf8').on('data', (d) => (text += d));
            a.on('end', () => resolve({ status: a.statusCode, headers: a.headers, body: text, json: () => JSON.parse(text) }));
        });
        q.on('error', reject);
        q.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
}

async function tokenOf(control, id = control.clientId, secret = control.clientSecret) {
    const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: id, client_secret: secret, scope: `${control.controlEndpoint}/.default` });
    const a = await ask({ control }, 'POST', '/adfs/oauth2/token', String(form), { 'content-type': 'application/x-www-form-urlencoded' });
    assert.equal(a.status, 200, a.body);
    return a.json().access_token;
}

describe("Azure's own packages", () => {
    test('manage accounts and deployments that the next call obeys', { timeout: 120000 }, async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const { gateway, control, dataDir } = await spawnControl(t, { resources: operatorsResources(sim.url), loops: 2 });
        const made = await runWeir(['principal', 'create', 'reader', '--json', '--data-dir', dataDir]);
        assert.equal(made.code, 0, made.stderr);
        const reader = JSON.parse(made.stdout);
        const child = spawn(process.execPath, [path.join(here, 'azure_client.mjs')], {
            stdio: ['ignore', 'pipe', 'pipe'],
            env: {
                ...process.env, NODE_EXTRA_CA_CERTS: control.caFile, AZURE_AUTHORITY_HOST: control.controlEndpoint, AZURE_TENANT_ID: 'adfs',
                AZURE_CLIENT_ID: control.clientId, AZURE_CLIENT_SECRET: control.clientSecret,
                WEIR_TEST: JSON.stringify({
                    ...control, endpoint: control.controlEndpoint, subscription, dataUrl: gateway.url,
                    readerId: reader.appId, readerSecret: reader.password, readerObject: reader.objectId,
                }),
            },
        });
        let out = '', err = '';
        child.stdout.setEncoding('utf8').on('data', (d) => (out += d));
        child.stderr.setEncoding('utf8').on('data', (d) => (err += d));
        const code = await new Promise((resolve) => child.once('close', resolve));
        const steps = out.split(/^(?=(?:not )?ok - )/m).filter((s) => /^(not )?ok - /.test(s));
        assert.ok(steps.length > 15, out + err);
        for (const s of steps) {
            const [first, ...rest] = s.split('\n');
            await t.test(first.replace(/^(not )?ok - /, ''), () => assert.ok(first.startsWith('ok'), rest.join('\n')));
        }
        assert.equal(code, 0, out + err);
    });
});
