import { isIP } from 'node:net';

const RULE = /^(?:([A-Z]+) )?([a-z]+):\/\/([^/?#\s]+)(\/[^?#\s]*)?$/;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/**
 * Why an egress rule is not acceptable, or undefined when it is. A rule is
 * `[METHOD ]scheme://host[:port][/path-prefix]` or `cidr:<network>/<bits>[:port]`.
 */
export function egressRuleProblem(rule: string): string | undefined {
  if (rule.startsWith('cidr:')) return cidrProblem(rule.slice('cidr:'.length));
  const parts = RULE.exec(rule);
  if (parts === null) return 'must be [METHOD ]scheme://host[:port][/path-prefix]';
  const [, method, scheme, authority = ''] = parts;
  if (method !== undefined && !METHODS.includes(method)) return `unknown method ${method}`;
  if (scheme !== 'https' && scheme !== 'http') return 'the scheme must be https or http';
  if (authority.includes('@')) return 'must not contain a user name or password';
  return authorityProblem(authority);
}

function authorityProblem(authority: string): string | undefined {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(authority);
  if (parts === null) return 'the host or port is not valid';
  const [, host = '', port] = parts;
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) {
    return 'the port must be from 1 to 65535';
  }
  if (host.startsWith('['))
    return isIP(host.slice(1, -1)) === 6 ? undefined : 'not an IPv6 address';
  const name = host.startsWith('*.') ? host.slice(2) : host;
  if (name.includes('*')) return 'a wildcard stands only in front: *.example.com';
  const labels = name.split('.');
  if (host.startsWith('*.') && labels.length < 2) {
    return 'a wildcard needs at least two labels after it: *.example.com';
  }
  const valid = labels.every((label) => /^(?!-)[\p{L}\p{N}_-]{1,63}(?<!-)$/u.test(label));
  return valid && name.length <= 253 ? undefined : 'the host name is not valid';
}

function cidrProblem(text: string): string | undefined {
  const parts = /^\[?([0-9a-fA-F:.]+)\]?\/(\d{1,3})(?::(\d{1,5}))?$/.exec(text);
  if (parts === null) return 'must be cidr:<network>/<bits>[:port]';
  const family = isIP(parts[1] ?? '');
  const limit = family === 4 ? 32 : 128;
  if (family === 0 || Number(parts[2]) > limit) return 'the network is not valid';
  const port = parts[3] === undefined ? 1 : Number(parts[3]);
  return port < 1 || port > 65535 ? 'the port must be from 1 to 65535' : undefined;
}
