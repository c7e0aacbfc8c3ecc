// az.test.mjs - the Azure CLI, unmodified, against a control plane: `make test-az` (tools/az.sh installs one).
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runWeir, spawnGateway, spawnSimulator, tempFolder } from '../e2e/support.mjs';

const subscription = '00000000-0000-0000-0000-000000000001';
const account = `/subscriptions/${subscription}/resourceGroups/rg1/providers/Microsoft.CognitiveServices/accounts/acct1`;

// A model of the operator's own under the name that Azure's documentation deploys.
const resources = (backend) => [
    { id: `/subscriptions/${subscription}`, displayName: 'Local' },
    { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US' } },
    { id: '/providers/Weir.Capacity/models/OpenAI.gpt-4.0613', properties: { inputTpmPerPtu: 2500, outputWeight: 3 } },
    {
        id: '/providers/Weir.Capacity/pools/tests', location: 'eastus',
        properties: { ptus: 500, models: [{ name: 'gpt-4' }, { name: 'gpt-4o' }] },
    },
    { id: '/providers/Weir.Capacity/pools/tests/backends/b1', properties: { url: backend } },
];

describe('az', { concurrency: false }, () => {
    const program = process.env.WEIR_AZ ?? 'az';
    let gateway, sim, env, version, control, folder;

    // Runs az; its answer, parsed where it is JSON. Fails unless it ends as expected.
    function az(args, { fails = false, as = env } = {}) {
        return new Promise((resolve, reject) => {
            const child = spawn(program, args, { env: as, stdio: ['ignore', 'pipe', 'pipe'] });
            let out = '', err = '';
            child.stdout.setEncoding('utf8').on('data', (d) => (out += d));
            child.stderr.setEncoding('utf8').on('data', (d) => (err += d));
            child.once('close', (code) => {
                if ((code !== 0) !== fails) reject(new Error(`az ${args.join(' ')}: ${code}\n${out}\n${err}\n${gateway.stderr()}`));
                else if (fails) resolve(err);
                else resolve(out.trim() ? JSON.parse(out) : null);
            });
        });
    }

    // az as another principal, with a folder of its own; its environment.
    async function loginAs(name, id, secret) {
        const as = { ...env, AZURE_CONFIG_DIR: path.join(folder, name) };
        await az(['cloud', 'register', '-n', 'Weir', '--endpoint-resource-manager', control.controlEndpoint], { as });
        await az(['cloud', 'set', '-n', 'Weir'], { as });
        const [login] = await az(['login', '--service-principal', '-u', id, '-p', secret, '--tenant', control.tenantId], { as });
        assert.equal(login.id, subscription);
        return as;
    }

    before(async () => {
        const found = spawnSync(program, ['version', '-o', 'json'], { encoding: 'utf8' });
        assert.equal(found.status, 0, 'there is no az: make test-az installs it');
        version = JSON.parse(found.stdout)['azure-cli'];
        folder = tempFolder(null);
        sim = await spawnSimulator(null, '--profile', 'instant');
        gateway = await spawnGateway(null, { resources: resources(sim.url), folder, args: ['--control-listen', '127.0.0.1:0'] });
        control = JSON.parse(readFileSync(path.join(folder, 'data/operator.json')));
        env = {
            ...process.env, REQUESTS_CA_BUNDLE: control.caFile,
            AZURE_CORE_COLLECT_TELEMETRY: 'no', AZURE_CORE_NO_COLOR: 'true',
        };
        delete env.HTTPS_PROXY;
        env = await loginAs('az', control.clientId, control.clientSecret);
    });
    after(async () => {
        await gateway?.stop();
        await sim?.stop();
    });

    test('creates a group and an account', async () => {
        assert.equal((await az(['group', 'create', '-n', 'rg1', '-l', 'eastus'])).properties.provisioningState, 'Succeeded');
        const made = await az(['cognitiveservices', 'account', 'create', '-n', 'acct1', '-g', 'rg1', '--kind', 'OpenAI', '--sku', 'S0', '-l', 'eastus', '--yes']);
        assert.equal(made.properties.provisioningState, 'Succeeded');
        assert.ok((await az(['cognitiveservices', 'account', 'keys', 'list', '-n', 'acct1', '-g', 'rg1'])).key1);
    });

    test('creates a deployment by the documented command, or by az rest where az is too old for it', async () => {
        const [major, minor] = version.split('.').map(Number);
        if (major > 2 || minor >= 55) {
            const made = await az(['cognitiveservices', 'account', 'deployment', 'create', '--name', 'acct1', '--resource-group', 'rg1',
                '--deployment-name', 'MyModel', '--model-name', 'GPT-4', '--model-version', '0613', '--model-format', 'OpenAI',
                '--sku-capacity', '100', '--sku-name', 'ProvisionedManaged']);
            assert.equal(made.sku.capacity, 100);
        } else {
            const body = { sku: { name: 'ProvisionedManaged', capacity: 100 }, properties: { model: { format: 'OpenAI', name: 'GPT-4', version: '0613' } } };
            const made = await az(['rest', '--method', 'put', '--url', `${account}/deployments/MyModel?api-version=2024-10-01`, '--body', JSON.stringify(body)]);
            assert.equal(made.sku.capacity, 100);
            // Its own command, in the form of its day.
            await az(['cognitiveservices', 'account', 'deployment', 'create', '-n', 'acct1', '-g', 'rg1', '--deployment-name', 'old',
                '--model-name', 'gpt-4o', '--model-version', '2024-08-06', '--model-format', 'OpenAI',
                '--scale-settings-scale-type', 'Standard', '--scale-settings-capacity', '10']);
        }
        const shown = await az(['cognitiveservices', 'account', 'deployment', 'show', '-n', 'acct1', '-g', 'rg1', '--deployment-name', 'MyModel']);
        assert.equal(shown.properties.provisioningState, 'Succeeded');
        const listed = await az(['cognitiveservices', 'account', 'deployment', 'list', '-n', 'acct1', '-g', 'rg1']);
        assert.ok(listed.some((d) => d.name === 'MyModel'));
        const usages = await az(['rest', '--method', 'get', '--url',
            `/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages?api-version=2024-10-01`]);
        assert.equal(usages.value.find((u) => u.name.value === 'OpenAI.ProvisionedManaged').currentValue, 100);
    });

    test('tells why a deployment is refused', async () => {
        const body = { sku: { name: 'ProvisionedManaged', capacity: 1 }, properties: { model: { format: 'OpenAI', name: 'no-such-model', version: '1' } } };
        const err = await az(['rest', '--method', 'put', '--url', `${account}/deployments/bad?api-version=2024-10-01`, '--body', JSON.stringify(body)], { fails: true });
        assert.match(err, /DeploymentModelNotSupported/);
    });

    test('lets a principal in whose role is to call: it reads, changes nothing, and its token is good for calls', async () => {
        const made = await runWeir(['principal', 'create', 'caller', '--json', '--role', 'Cognitive Services OpenAI User', '--scope', account,
            '--data-dir', path.join(folder, 'data')]);
        assert.equal(made.code, 0, made.stderr);
        const { appId, password } = JSON.parse(made.stdout);
        const as = await loginAs('caller', appId, password);
        const shown = await az(['cognitiveservices', 'account', 'deployment', 'show', '-n', 'acct1', '-g', 'rg1', '--deployment-name', 'MyModel'], { as });
        assert.equal(shown.sku.capacity, 100);
        const refused = await az(['rest', '--method', 'put', '--url', `${account}/deployments/MyModel?api-version=2024-10-01`, '--body',
            JSON.stringify({ sku: { name: 'ProvisionedManaged', capacity: 50 }, properties: { model: { format: 'OpenAI', name: 'gpt-4', version: '0613' } } })], { as, fails: true });
        assert.match(refused, /AuthorizationFailed/);
        assert.match(await az(['cognitiveservices', 'account', 'keys', 'list', '-n', 'acct1', '-g', 'rg1'], { as, fails: true }), /AuthorizationFailed/);
        const { accessToken } = await az(['account', 'get-access-token'], { as });
        const call = (token) => fetch(`${gateway.url}/openai/deployments/MyModel/chat/completions?api-version=2024-10-21`, {
            method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
            body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 }),
        });
        const answer = await call(accessToken);
        assert.equal(answer.status, 200, await answer.text());
        assert.equal((await call(`${accessToken}x`)).status, 401);
    });

    test('deletes the deployment and the account, lists what is deleted, and purges it', async () => {
        await az(['cognitiveservices', 'account', 'deployment', 'delete', '-n', 'acct1', '-g', 'rg1', '--deployment-name', 'MyModel']);
        await az(['cognitiveservices', 'account', 'delete', '-n', 'acct1', '-g', 'rg1']);
        assert.equal((await az(['cognitiveservices', 'account', 'list-deleted'])).length, 1);
        await az(['cognitiveservices', 'account', 'purge', '-n', 'acct1', '-g', 'rg1', '-l', 'eastus']);
        assert.equal((await az(['cognitiveservices', 'account', 'list-deleted'])).length, 0);
    });
});
