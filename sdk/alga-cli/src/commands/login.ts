import type { Command } from 'commander';

import { addCommand } from '../command.js';
import type { Environment } from '../environment.js';
import { readSecretValue } from '../secret-input.js';
import { ApiClient, resolveTarget, type ServerOptions } from '../server/client.js';
import { readCredentials, saveCredentials } from '../server/credentials.js';
import type { Principal } from '../server/types.js';

export function registerLogin(program: Command, environment: Environment): void {
  addCommand<ServerOptions & { tokenFile?: string }>(
    program,
    'login',
    'Check a token and remember it for later commands',
    environment,
    async ({ options, output }) => {
      const target = await resolveTarget(environment, options);
      const { ALGA_TOKEN: token, ALGA_API_KEY: key } = environment.variables;
      const fromEnvironment = options.tokenFile === undefined ? token || key : undefined;
      const source = {
        option: '--token-file' as const,
        ...(options.tokenFile === undefined ? {} : { file: options.tokenFile }),
      };
      const value =
        fromEnvironment ?? (await readSecretValue(environment, source, `token for ${target.url}`));
      const client = new ApiClient({ ...target, token: value }, output);
      const { principal } = await client.json<{ principal: Principal }>('/api/v1/whoami');
      const tenant = options.tenant ?? principal.tenant ?? undefined;
      const path = await saveCredentials(environment, target.url, {
        token: value,
        ...(tenant === undefined ? {} : { tenant }),
      });
      output.print(
        `Logged in to ${target.url} as ${principal.label} (${principal.roles.join(', ')})`,
      );
      output.print(`The token is in ${path}, readable for you only`);
      output.result({ url: target.url, principal, credentials: path });
    },
  )
    .option('--url <url>', 'server (default: ALGA_URL, then the last login)')
    .option('--tenant <id>', 'tenant that later commands are about')
    .option('--token-file <file>', 'file that holds the token (default: prompt or standard input)');

  addCommand<ServerOptions>(
    program,
    'logout',
    'Forget the token of a server',
    environment,
    async ({ options, output }) => {
      const { url } = await resolveTarget(environment, options);
      const { servers } = await readCredentials(environment);
      const known = Object.hasOwn(servers, url);
      if (known) await saveCredentials(environment, url, undefined);
      output.print(
        known
          ? `Forgot the token for ${url}; it stays valid until it is revoked on the server`
          : `No token for ${url} was remembered`,
      );
      output.result({ url, forgotten: known });
    },
  ).option('--url <url>', 'server (default: the last login)');
}
