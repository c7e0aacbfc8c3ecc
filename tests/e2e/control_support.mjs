// control_support.mjs - what tests of the control plane share: one that runs, requests to it, tokens of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { spawnGateway, spawnSimulator, tempFolder } from './support.mjs';

export const subscription = '00000000-0000-0000-0000-000000000001';

// What an operator has before the first tenant comes.
export const operatorsResources = (backend, ptus = 500) => [
    { id: `/subscriptions/${subscription}`, displayName: 'Tests' },
    { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US', dataZone: 'us' } },
    {
        id: '/providers/Weir.Capacity/pools/tests', location: 'eastus',
        properties: { ptus, models: [{ name: 'gpt-4o' }, { name: 'text-embedding-3-small' }] },
    },
    { id: '/providers/Weir.Capacity/pools/tests/backends/b1', properties: { url: backend } },
];

// Starts a gateway with a control plane; its handle, and what operator.json says.
export async function spawnControl(t, { resources, folder = tempFolder(), ...more }) {
    const gateway = await spawnGateway(t, { resources, folder, ...more, args: ['--control-listen', '127.0.0.1:0', ...(more.args ?? [])] });
    const control = JSON.parse(readFileSync(path.join(folder, 'data/operator.json')));
    return { gateway, control, dataDir: path.join(folder, 'data') };
}

// One request to the control plane without any client: { status, headers, body, json }.
export function ask({ control, token }, method, target, body, headers = {}) {
    return new Promise((resolve, reject) => {
        const q = https.request(control.controlEndpoint + target, {
            method, ca: readFileSync(control.caFile),
            headers: {
                ...(token ? { authorization: `Bearer ${token}` } : {}),
                ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers,
            },
        }, (a) => {
            let text = '';
            a.setEncoding('utf8').on('data', (d) => (text += d)).on('error', reject); // a peer that dies after the head
            a.on('end', () => resolve({ status: a.statusCode, headers: a.headers, body: text, json: () => JSON.parse(text) }));
        });
        q.on('error', reject);
        q.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
}

export async function tokenOf(control, id = control.clientId, secret = control.clientSecret) {
    const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: id, client_secret: secret, scope: `${control.controlEndpoint}/.default` });
    const a = await ask({ control }, 'POST', '/adfs/oauth2/token', String(form), { 'content-type': 'application/x-www-form-urlencoded' });
    assert.equal(a.status, 200, a.body);
    return a.json().access_token;
}

export const account = (name, group = 'rg') =>
    `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.CognitiveServices/accounts/${name}`;
export const v = '?api-version=2025-09-01';
export const accountBody = { kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' }, properties: {} };
export const deploymentBody = (capacity, sku = 'ProvisionedManaged') => ({
    sku: { name: sku, capacity }, properties: { model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' } },
});

// A control plane with one group and one account in it, and the operator's token.
export async function spawnWithAccount(t, more = {}) {
    const sim = await spawnSimulator(t, '--profile', 'instant');
    const { ptus, ...rest } = more;
    const c = await spawnControl(t, { resources: operatorsResources(sim.url, ptus), ...rest });
    c.sim = sim;
    c.token = await tokenOf(c.control);
    c.put = (target, body, headers) => ask(c, 'PUT', target + v, body, headers);
    c.get = (target) => ask(c, 'GET', target + v);
    c.delete = (target) => ask(c, 'DELETE', target + v);
    assert.equal((await c.put(`/subscriptions/${subscription}/resourceGroups/rg`, { location: 'eastus' })).status, 201);
    assert.equal((await c.put(account('acct'), accountBody)).status, 201);
    const keys = await ask(c, 'POST', `${account('acct')}/listKeys${v}`);
    c.key = keys.json().key1;
    return c;
}

export const callWith = (c, key, name = 'd') => fetch(`${c.gateway.url}/openai/deployments/${name}/chat/completions?api-version=2024-10-21`, {
    method: 'POST', headers: { 'content-type': 'application/json', ...key },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 }),
});

// A certificate of its own for localhost, in the files NAME.key and NAME.pem of a folder; their texts.
export function makeCertificate(folder, name) {
    const file = (end) => path.join(folder, name + end);
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-keyout', file('.key'),
        '-out', file('.pem'), '-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], { stdio: 'ignore' });
    return { key: readFileSync(file('.key')), cert: readFileSync(file('.pem')), file: file('.pem') };
}
