// notinforce.test.mjs - a change that is stored while the data plane cannot take it: what is said of it, and how it heals.
import assert from 'node:assert/strict';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { account, ask, callWith, deploymentBody, makeCertificate, spawnWithAccount } from './control_support.mjs';
import { tempFolder, until as waitFor } from './support.mjs';

const until = (fn) => waitFor(fn, 30000); // a busy machine takes its time

test('a change that is stored but not in force reads so, its operation goes on, and both heal with the cause', async (t) => {
    const folder = tempFolder();
    const ca = path.join(folder, 'ca.pem'), kept = makeCertificate(folder, 'kept').file;
    const secure = '/providers/Weir.Capacity/pools/tests/backends/secure';
    const body = { properties: { url: 'https://localhost:1', caFile: ca, priority: 2 } };
    const c = await spawnWithAccount(t);
    const state = async (target) => (await c.get(target)).json().properties.provisioningState;
    assert.equal((await c.put(account('acct') + '/deployments/d', deploymentBody(50))).status, 201);
    assert.equal((await callWith(c, { 'api-key': c.key })).status, 200);

    // A file that is not there, or no certificate, is refused when it is named; one that goes later is missed
    // with the next change that reads it.
    for (const content of [null, 'no certificate']) {
        if (content) writeFileSync(ca, content);
        const refused = await c.put(secure, body);
        assert.equal(refused.status, 400, refused.body);
        assert.equal(refused.json().error.target, 'properties.caFile');
    }
    copyFileSync(kept, ca);
    const made = await c.put(secure, body);
    assert.equal(made.status, 201, made.body);
    assert.equal(await state(secure), 'Succeeded');
    rmSync(ca);
    assert.equal((await c.put('/providers/Weir.Capacity/pools/tests/backends/spare', { properties: { url: 'http://localhost:1', priority: 2 } })).status, 201);
    await until(() => /a stored change is not in force: .*ca\.pem/.test(c.gateway.stderr()));

    // All that comes after it waits with it; calls go on by what is in force.
    const late = await c.put(account('acct') + '/deployments/late', deploymentBody(50));
    assert.equal(late.status, 201, late.body);
    assert.equal(await state(account('acct') + '/deployments/late'), 'Creating');
    const operation = new URL(late.headers['azure-asyncoperation']);
    const status = async () => (await ask(c, 'GET', operation.pathname + operation.search)).json().status;
    assert.notEqual(await status(), 'Succeeded');
    assert.equal((await callWith(c, { 'api-key': c.key })).status, 200);
    assert.equal((await callWith(c, { 'api-key': c.key }, 'late')).status, 404);

    copyFileSync(kept, ca);
    assert.equal((await c.put(account('acct') + '/deployments/next', deploymentBody(50))).status, 201);
    for (const target of [account('acct') + '/deployments/next', '/providers/Weir.Capacity/pools/tests/backends/spare', account('acct') + '/deployments/late'])
        assert.equal(await state(target), 'Succeeded', target);
    assert.equal(await status(), 'Succeeded');
    assert.equal((await callWith(c, { 'api-key': c.key }, 'late')).status, 200);
});
