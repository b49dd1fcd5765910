import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {resolveSettings, type WandbOptions} from '../../../../../src/plugins/trackers/wandb/settings.ts';
import {temporaryFolder} from '../../../../helpers/temporary-folder.ts';

const home = temporaryFolder();
const options: WandbOptions = {project: 'mine', tags: ['a'], transport: 'http', artifacts: ['strategy'], group: 'g'};
const resolve = (
  env: Record<string, string>,
  changed: Partial<WandbOptions> = {},
): ReturnType<typeof resolveSettings> => resolveSettings({...options, ...changed}, {HOME: home, ...env}, '/somewhere');

describe('W&B settings', () => {
  test('every variable goes before the config', () => {
    expect(
      resolve({
        WANDB_API_KEY: 'k',
        WANDB_BASE_URL: 'https://wandb.example.org/',
        WANDB_PROJECT: 'p',
        WANDB_ENTITY: 'e',
        WANDB_RUN_ID: 'r',
        WANDB_RUN_GROUP: 'gg',
        WANDB_JOB_TYPE: 'j',
        WANDB_NAME: 'n',
        WANDB_NOTES: 'notes',
        WANDB_TAGS: 'x, y,,z',
        WANDB_RESUME: 'must',
        WANDB_DIR: 'logs',
        WANDB_SWEEP_ID: 's',
      }),
    ).toEqual({
      mode: 'online',
      offlineReason: undefined,
      key: 'k',
      baseUrl: 'https://wandb.example.org',
      project: 'p',
      entity: 'e',
      runId: 'r',
      group: 'gg',
      jobType: 'j',
      name: 'n',
      notes: 'notes',
      tags: ['x', 'y', 'z'],
      resume: 'must',
      directory: path.resolve('/somewhere', 'logs'),
      sweepId: 's',
      transport: 'http',
      artifacts: new Set(['strategy']),
    });
  });

  test('without variables the config counts; empty ones are as good as none', () => {
    expect(resolve({WANDB_API_KEY: 'k', WANDB_PROJECT: '', WANDB_TAGS: ''})).toMatchObject({
      project: 'mine',
      group: 'g',
      tags: ['a'],
      baseUrl: 'https://api.wandb.ai',
      entity: undefined,
    });
  });

  test('no key: offline, and it says why', () => {
    expect(resolve({})).toMatchObject({mode: 'offline', key: undefined});
    expect(resolve({}).offlineReason).toContain('WANDB_API_KEY');
  });

  test.each(['offline', 'disabled'] as const)('WANDB_MODE %s needs no key and gives no reason', (mode) => {
    expect(resolve({WANDB_MODE: mode})).toMatchObject({mode, offlineReason: undefined});
    expect(resolve({WANDB_MODE: mode, WANDB_API_KEY: 'k'}, {mode: 'online'})).toMatchObject({mode});
  });

  test('the key of the server in .netrc, not that of another one', () => {
    writeFileSync(
      path.join(home, '.netrc'),
      'machine other.org login a password wrong\n# machine api.wandb.ai password wrong\nmachine api.wandb.ai\n  login user\n  password right\n',
    );
    expect(resolve({})).toMatchObject({mode: 'online', key: 'right'});
    expect(resolve({WANDB_BASE_URL: 'https://third.org'})).toMatchObject({mode: 'offline', key: undefined});
    expect(resolve({WANDB_API_KEY: 'k'})).toMatchObject({key: 'k'});
    const elsewhere = path.join(home, 'keys');
    writeFileSync(elsewhere, 'machine api.wandb.ai login user password other');
    expect(resolve({NETRC: elsewhere})).toMatchObject({key: 'other'});
  });

  test.each([
    ['WANDB_MODE', 'sometimes', /WANDB_MODE is "sometimes"; allowed are online, offline, disabled/],
    ['WANDB_RESUME', 'maybe', /WANDB_RESUME is "maybe"; allowed/],
    ['WANDB_RUN_ID', 'a/b', /WANDB_RUN_ID is "a\/b"/],
    ['WANDB_BASE_URL', 'ftp://x', /not an http\(s\) address/],
  ])('%s=%s is refused', (name, value, message) => {
    expect(() => resolve({[name]: value})).toThrow(message);
  });

  test('an address with a password is refused without showing it', () => {
    const call = (): unknown => resolve({WANDB_BASE_URL: 'https://me:geheim@x.org'});
    expect(call).toThrow(/without a password/);
    expect(call).not.toThrow(/geheim/);
  });
});
