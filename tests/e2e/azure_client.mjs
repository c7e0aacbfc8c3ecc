// azure_client.mjs - Azure's own packages, unmodified, against a control plane: run by control.test.mjs with the
// environment that a user would set (NODE_EXTRA_CA_CERTS, AZURE_*). Prints "ok - NAME" or "not ok - NAME" for each step.
import assert from 'node:assert/strict';
import { ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential, getBearerTokenProvider } from '@azure/identity';
import { CognitiveServicesManagementClient } from '@azure/arm-cognitiveservices';
import { ResourceManagementClient } from '@azure/arm-resources';
import { AuthorizationManagementClient } from '@azure/arm-authorization';
import OpenAI, { AzureOpenAI } from 'openai';

const { endpoint, tenantId, clientId, clientSecret, subscription, dataUrl, readerId, readerSecret, readerObject } =
    JSON.parse(process.env.WEIR_TEST);

let nFailed = 0;
async function step(name, run) {
    try {
        await run();
        console.log(`ok - ${name}`);
    } catch (e) {
        nFailed++;
        console.log(`not ok - ${name}`);
        console.log(`${e.stack ?? e}\n${e.details ? JSON.stringify(e.details) : ''}`.replace(/^/gm, '#   '));
    }
}

const all = async (pages) => {
    const items = [];
    for await (const item of pages) items.push(item);
    return items;
};
const fails = (run, code, pattern = /./) => assert.rejects(run, (e) => {
    assert.equal(e.code, code, e.stack);
    assert.match(e.message, pattern);
    return true;
});

const options = { endpoint, retryOptions: { maxRetries: 0 } };
const credential = new DefaultAzureCredential();
const cognitive = new CognitiveServicesManagementClient(credential, subscription, options);
const resources = new ResourceManagementClient(credential, subscription, options);
const authorization = new AuthorizationManagementClient(credential, subscription, options);

const gpt4o = { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' };
const ptu = (capacity, model = gpt4o) => ({ sku: { name: 'ProvisionedManaged', capacity }, properties: { model } });
let keys;

await step('a token by client secret, tenant by its id', async () => {
    const byId = new ClientSecretCredential(tenantId, clientId, clientSecret,
        { authorityHost: endpoint, disableInstanceDiscovery: true });
    const { token, expiresOnTimestamp } = await byId.getToken(`${endpoint}/.default`);
    assert.equal(token.split('.').length, 3);
    assert.ok(expiresOnTimestamp > Date.now() + 3000000);
});

await step('a wrong secret is refused by its number', async () => {
    const wrong = new ClientSecretCredential('adfs', clientId, 'not-the-secret-at-all', { authorityHost: endpoint });
    await assert.rejects(wrong.getToken(`${endpoint}/.default`), /7000215/);
    const nobody = new ClientSecretCredential('adfs', 'nobody', clientSecret, { authorityHost: endpoint });
    await assert.rejects(nobody.getToken(`${endpoint}/.default`), /700016/);
});

await step('a token as a managed identity gets it', async () => {
    process.env.IDENTITY_ENDPOINT = `${endpoint}/msi/token`;
    process.env.IDENTITY_HEADER = `${clientId}:${clientSecret}`;
    try {
        const { token } = await new ManagedIdentityCredential().getToken('https://cognitiveservices.azure.com/.default');
        assert.equal(token.split('.').length, 3);
    } finally {
        delete process.env.IDENTITY_ENDPOINT;
        delete process.env.IDENTITY_HEADER;
    }
});

await step('resource groups are made, found and listed', async () => {
    const group = await resources.resourceGroups.createOrUpdate('rg1', { location: 'eastus', tags: { team: 'a' } });
    assert.equal(group.name, 'rg1');
    assert.equal(group.properties.provisioningState, 'Succeeded');
    assert.equal((await resources.resourceGroups.get('RG1')).tags.team, 'a');
    assert.equal((await resources.resourceGroups.checkExistence('rg1')).body, true);
    assert.equal((await resources.resourceGroups.checkExistence('rg2')).body, false);
    assert.ok((await all(resources.resourceGroups.list())).some((g) => g.name === 'rg1'));
});

await step('the provider is registered', async () => {
    const p = await resources.providers.get('Microsoft.CognitiveServices');
    assert.equal(p.namespace, 'Microsoft.CognitiveServices');
    assert.ok(p.resourceTypes.some((t) => t.resourceType === 'accounts' && t.apiVersions.length));
    assert.equal((await resources.providers.register('Microsoft.CognitiveServices')).registrationState, 'Registered');
});

await step('an account is made, read, listed and has keys', async () => {
    const made = await cognitive.accounts.beginCreateAndWait('rg1', 'acct1', {
        kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' }, properties: { customSubDomainName: 'acct1' }, tags: { a: 'b' },
    });
    assert.equal(made.properties.provisioningState, 'Succeeded');
    assert.ok(made.etag && made.systemData.createdAt);
    const got = await cognitive.accounts.get('rg1', 'ACCT1');
    assert.equal(got.name, 'acct1');
    assert.deepEqual(got.tags, { a: 'b' });
    assert.ok(got.properties.endpoint.startsWith('http'));
    assert.equal((await all(cognitive.accounts.list())).length, 1);
    assert.equal((await all(cognitive.accounts.listByResourceGroup('rg1'))).length, 1);
    keys = await cognitive.accounts.listKeys('rg1', 'acct1');
    assert.ok(keys.key1.length >= 32 && keys.key1 !== keys.key2);
    const updated = await cognitive.accounts.beginUpdateAndWait('rg1', 'acct1', { tags: { a: 'c' } });
    assert.deepEqual(updated.tags, { a: 'c' });
});

await step('a missing account is 404 with a code', async () => {
    await assert.rejects(cognitive.accounts.get('rg1', 'nothing'), (e) => e.statusCode === 404 && e.code === 'ResourceNotFound');
});

await step('a deployment is made, read and listed, and the next call obeys it', async () => {
    const made = await cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'chat', ptu(50));
    assert.equal(made.properties.provisioningState, 'Succeeded');
    assert.equal(made.sku.capacity, 50);
    assert.equal((await cognitive.deployments.get('rg1', 'acct1', 'chat')).properties.model.name, 'gpt-4o');
    assert.equal((await all(cognitive.deployments.list('rg1', 'acct1'))).length, 1);
    const client = new AzureOpenAI({ endpoint: dataUrl, apiKey: keys.key1, apiVersion: '2024-10-21', maxRetries: 0 });
    const answer = await client.chat.completions.create(
        { model: 'chat', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 5 });
    assert.ok(answer.usage.completion_tokens > 0);
});

await step('a model is named in any case, and the old form of a size is understood', async () => {
    const made = await cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'upper',
        { sku: { name: 'Standard', capacity: 10 }, properties: { model: { ...gpt4o, name: 'GPT-4O' } } });
    assert.equal(made.sku.name, 'Standard');
    assert.ok(made.properties.rateLimits.some((r) => r.key === 'token' && r.count === 10000));
    await cognitive.deployments.beginDeleteAndWait('rg1', 'acct1', 'upper');
    await assert.rejects(cognitive.deployments.get('rg1', 'acct1', 'upper'), (e) => e.statusCode === 404);
});

await step('a deployment grows and shrinks, and quota follows', async () => {
    const used = async () => (await all(cognitive.usages.list('eastus')))
        .find((u) => u.name.value === 'OpenAI.ProvisionedManaged');
    const before = await used();
    assert.equal(before.currentValue, 50);
    const grown = await cognitive.deployments.beginUpdateAndWait('rg1', 'acct1', 'chat',
        { sku: { name: 'ProvisionedManaged', capacity: 100 } });
    assert.equal(grown.sku.capacity, 100);
    assert.equal((await used()).currentValue, 100);
    await cognitive.deployments.beginUpdateAndWait('rg1', 'acct1', 'chat', { sku: { name: 'ProvisionedManaged', capacity: 50 } });
    assert.equal((await used()).currentValue, 50);
    assert.equal((await used()).limit, before.limit);
});

await step('sizes are refused by form, then by quota, then by capacity', async () => {
    await fails(cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'odd', ptu(51)), 'InvalidCapacity');
    await fails(cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'huge', ptu(100000)), 'InsufficientQuota',
        /quota limit is/);
    await fails(cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'none', ptu(50, { format: 'OpenAI', name: 'no-such-model', version: '1' })),
        'DeploymentModelNotSupported');
});

await step('capacities tell the largest size that would be granted', async () => {
    const here = await all(cognitive.locationBasedModelCapacities.list('eastus', 'OpenAI', 'gpt-4o', '2024-08-06'));
    const regional = here.find((c) => c.properties.skuName === 'ProvisionedManaged');
    const largest = regional.properties.availableCapacity;
    assert.ok(largest >= 50 && largest % 50 === 0, `${largest}`);
    const everywhere = await all(cognitive.modelCapacities.list('OpenAI', 'gpt-4o', '2024-08-06'));
    assert.ok(everywhere.some((c) => c.location === 'eastus' || c.location === 'East US'));
    await cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'rest', ptu(largest));
    await assert.rejects(cognitive.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'more', ptu(50)),
        (e) => ['InsufficientQuota', 'InsufficientCapacity'].includes(e.code));
    await cognitive.deployments.beginDeleteAndWait('rg1', 'acct1', 'rest');
});

await step('calculateModelCapacity gives the published shape', async () => {
    const { estimatedCapacity } = await cognitive.calculateModelCapacity({
        model: gpt4o, skuName: 'ProvisionedManaged',
        workloads: [{ requestPerMinute: 10, requestParameters: { avgPromptTokens: 1000, avgGeneratedTokens: 200 } }],
    });
    assert.equal(estimatedCapacity.deployableValue, 50);
    assert.ok(estimatedCapacity.value > 0 && estimatedCapacity.value <= 50);
});

await step('lists of models, SKUs, usages and operations have what clients read', async () => {
    const models = await all(cognitive.models.list('eastus'));
    assert.ok(models.some((m) => m.model.name === 'gpt-4o' && m.model.skus.some((s) => s.name === 'ProvisionedManaged')));
    assert.ok((await all(cognitive.accounts.listModels('rg1', 'acct1'))).some((m) => m.name === 'gpt-4o'));
    assert.ok((await cognitive.accounts.listSkus('rg1', 'acct1')).value.length);
    assert.ok((await cognitive.accounts.listUsages('rg1', 'acct1')).value);
    assert.ok((await all(cognitive.resourceSkus.list())).length);
    assert.ok((await all(cognitive.operations.list())).length);
    const skus = await all(cognitive.deployments.listSkus('rg1', 'acct1', 'chat'));
    assert.equal(skus.find((s) => s.sku.name === 'ProvisionedManaged').capacity.step, 50);
});

await step('names are checked before they are taken', async () => {
    const type = 'Microsoft.CognitiveServices/accounts';
    assert.equal((await cognitive.checkDomainAvailability('acct1', type, { kind: 'OpenAI' })).isSubdomainAvailable, false);
    assert.equal((await cognitive.checkDomainAvailability('free-name', type, { kind: 'OpenAI' })).isSubdomainAvailable, true);
    const { value } = await cognitive.checkSkuAvailability('eastus', ['S0'], 'OpenAI', type);
    assert.equal(value[0].skuAvailable, true);
});

await step('a key that is made anew is obeyed at once, the other one stays', async () => {
    const next = await cognitive.accounts.regenerateKey('rg1', 'acct1', 'Key1');
    assert.notEqual(next.key1, keys.key1);
    assert.equal(next.key2, keys.key2);
    const ask = (apiKey) => new AzureOpenAI({ endpoint: dataUrl, apiKey, apiVersion: '2024-10-21', maxRetries: 0 })
        .chat.completions.create({ model: 'chat', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 2 });
    await assert.rejects(ask(keys.key1), (e) => e.status === 401);
    assert.ok((await ask(next.key1)).id);
    assert.ok((await ask(next.key2)).id);
});

await step('a bearer token calls the deployment', async () => {
    const client = new AzureOpenAI({
        endpoint: dataUrl, apiVersion: '2024-10-21', maxRetries: 0,
        azureADTokenProvider: getBearerTokenProvider(credential, 'https://cognitiveservices.azure.com/.default'),
    });
    const answer = await client.chat.completions.create(
        { model: 'chat', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 5 });
    assert.ok(answer.usage.completion_tokens > 0);
});

await step('a reader reads and changes nothing; roles are assigned, listed and deleted', async () => {
    const reader = new ClientSecretCredential('adfs', readerId, readerSecret, { authorityHost: endpoint });
    const eyes = new CognitiveServicesManagementClient(reader, subscription, options);
    await assert.rejects(eyes.accounts.get('rg1', 'acct1'), (e) => e.code === 'AuthorizationFailed' && e.statusCode === 403);
    const scope = `/subscriptions/${subscription}`;
    const definitions = await all(authorization.roleDefinitions.list(scope, { filter: "roleName eq 'Reader'" }));
    assert.equal(definitions.length, 1);
    const name = '7b0f0c1e-9f33-4c1d-8d5e-0d8f6ad0a001';
    const made = await authorization.roleAssignments.create(scope, name, {
        roleDefinitionId: definitions[0].id, principalId: readerObject, principalType: 'ServicePrincipal',
    });
    assert.equal(made.principalId, readerObject);
    assert.equal((await eyes.accounts.get('rg1', 'acct1')).name, 'acct1');
    await assert.rejects(eyes.accounts.listKeys('rg1', 'acct1'), (e) => e.statusCode === 403);
    await assert.rejects(eyes.deployments.beginCreateOrUpdateAndWait('rg1', 'acct1', 'x', ptu(50)), (e) => e.statusCode === 403);
    assert.ok((await all(authorization.roleAssignments.listForScope(scope))).some((a) => a.principalId === readerObject));
    await authorization.roleAssignments.delete(scope, name);
    await assert.rejects(eyes.accounts.get('rg1', 'acct1'), (e) => e.statusCode === 403);
});

await step('a deleted account is listed, recovered, deleted again and purged; quota follows', async () => {
    const used = async () => (await all(cognitive.usages.list('eastus')))
        .find((u) => u.name.value === 'OpenAI.ProvisionedManaged').currentValue;
    await cognitive.accounts.beginDeleteAndWait('rg1', 'acct1');
    await assert.rejects(cognitive.accounts.get('rg1', 'acct1'), (e) => e.statusCode === 404);
    assert.equal(await used(), 50);
    assert.equal((await all(cognitive.deletedAccounts.list())).length, 1);
    assert.ok((await cognitive.deletedAccounts.get('eastus', 'rg1', 'acct1')).properties.deletionDate);
    const account = { kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' } };
    await fails(cognitive.accounts.beginCreateAndWait('rg1', 'acct1', { ...account, properties: {} }), 'FlagMustBeSetForRestore');
    await cognitive.accounts.beginCreateAndWait('rg1', 'acct1', { ...account, properties: { restore: true } });
    assert.equal((await cognitive.deployments.get('rg1', 'acct1', 'chat')).sku.capacity, 50);
    await cognitive.accounts.beginDeleteAndWait('rg1', 'acct1');
    await cognitive.deletedAccounts.beginPurgeAndWait('eastus', 'rg1', 'acct1');
    assert.equal((await all(cognitive.deletedAccounts.list())).length, 0);
    assert.equal(await used(), 0);
});

await step('a resource group goes with what is in it', async () => {
    await cognitive.accounts.beginCreateAndWait('rg1', 'acct2', { kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' }, properties: {} });
    await resources.resourceGroups.beginDeleteAndWait('rg1');
    assert.equal((await resources.resourceGroups.checkExistence('rg1')).body, false);
    assert.equal((await all(cognitive.accounts.list())).length, 0);
});

void OpenAI;
process.exit(nFailed ? 1 : 0);
