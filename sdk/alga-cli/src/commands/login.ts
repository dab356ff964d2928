import { Option, type Command } from 'commander';

import { addCommand } from '../command.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { readSecretValue } from '../secret-input.js';
import { ApiClient, resolveTarget, type ServerOptions } from '../server/client.js';
import { readCredentials, saveCredentials, type ServerCredentials } from '../server/credentials.js';
import type { Principal } from '../server/types.js';

interface LoginOptions extends ServerOptions {
  tokenFile?: string;
  maps?: boolean;
}

/** Roles that the registry shows source maps to. */
const READ_MAPS = ['publisher', 'operator'];

export function registerLogin(program: Command, environment: Environment): void {
  addCommand<LoginOptions>(
    program,
    'login',
    'Check a token and remember it for later commands',
    environment,
    async ({ options, output }) => {
      const target = await resolveTarget(environment, options);
      const token = await givenToken(environment, options, target.url);
      // The token for source maps is no tenant's: one that is remembered is not sent with it.
      const tried = options.maps === true ? { ...target, tenant: undefined } : target;
      const client = new ApiClient({ ...tried, token }, output);
      const { principal } = await client.json<{ principal: Principal }>('/api/v1/whoami');
      const who = `${principal.label} (${principal.roles.join(', ')})`;
      const { servers } = await readCredentials(environment);
      const known = servers[target.url] ?? {};
      let said = `Logged in to ${target.url} as ${who}`;
      let credentials: ServerCredentials = { ...known, maps_token: token };
      if (options.maps === true) {
        if (!principal.roles.some((role) => READ_MAPS.includes(role))) throw readsNoMaps(who);
        said = `Source maps of ${target.url} are read as ${who}`;
      } else {
        const tenant = options.tenant ?? principal.tenant ?? undefined;
        const { maps_token: maps } = known;
        credentials = {
          token,
          ...(tenant === undefined ? {} : { tenant }),
          ...(maps === undefined ? {} : { maps_token: maps }),
        };
      }
      const path = await saveCredentials(environment, target.url, credentials);
      output.print(said);
      output.print(`The token is in ${path}, readable for you only`);
      output.result({ url: target.url, principal, credentials: path });
    },
  )
    .option('--url <url>', 'server (default: ALGA_URL, then the last login)')
    .option('--tenant <id>', 'tenant that later commands are about')
    .option('--token-file <file>', 'file that holds the token (default: prompt or standard input)')
    .addOption(
      new Option(
        '--maps',
        "remember a publisher's token beside the account's, only to read source maps with",
      ).conflicts('tenant'),
    );

  addCommand<ServerOptions>(
    program,
    'logout',
    'Forget the tokens of a server',
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

/** The token to log in with: from a file, from the environment, from a pipe or typed unseen. */
async function givenToken(
  environment: Environment,
  { tokenFile: file, maps }: LoginOptions,
  url: string,
): Promise<string> {
  const { ALGA_TOKEN: token, ALGA_API_KEY: key, ALGA_MAPS_TOKEN: forMaps } = environment.variables;
  const fromEnvironment = maps === true ? forMaps : token || key;
  if (file === undefined && fromEnvironment) return fromEnvironment;
  const source = { option: '--token-file' as const, ...(file === undefined ? {} : { file }) };
  return readSecretValue(environment, source, `token for ${url}`);
}

function readsNoMaps(who: string): Failure {
  return new Failure('credentials.no_maps', `${who} may not read source maps`, {
    hint:
      "take a publisher's token; an operator makes one: " +
      'algad admin api-keys create --label LABEL --role publisher --publisher PUBLISHER',
    exitCode: ExitCode.Denied,
  });
}
