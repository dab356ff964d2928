import { isIP } from 'node:net';

const RULE =
  /^(?:([^ ]+) +)?(https?):\/\/(\[[0-9a-fA-F:.]+\]|[^:/?#\s[\]]+)(?::([0-9]{1,5}))?(\/[^\s]*)?$/;

/**
 * Why an egress rule is not acceptable, or undefined when it is. A rule is
 * `[METHOD ]scheme://host[:port][/path-prefix]` or `cidr:<network>/<bits>[:port]`. The server
 * judges in the end; this finds early what it would refuse.
 */
export function egressRuleProblem(rule: string): string | undefined {
  if (rule.startsWith('cidr:')) return networkProblem(rule.slice('cidr:'.length));
  if (/[?#]/.test(rule)) return 'must not have a query or a fragment';
  if (rule.includes('@')) return 'must not contain a user name or password';
  const parts = RULE.exec(rule);
  if (parts === null)
    return 'must be [METHOD ]scheme://host[:port][/path-prefix], with http or https';
  const [, method, , host = '', port, path = ''] = parts;
  if (method !== undefined && !/^[A-Z]+$/.test(method)) return 'the method must be in capitals';
  if (method === 'CONNECT' || method === 'TRACE') return `the method ${method} is never allowed`;
  return hostProblem(host) ?? portProblem(port) ?? pathProblem(path);
}

function hostProblem(host: string): string | undefined {
  if (host === '*') return undefined;
  if (host.startsWith('['))
    return isIP(host.slice(1, -1)) === 6 ? undefined : 'not an IPv6 address';
  const name = host.startsWith('*.') ? host.slice(2) : host;
  if (name.includes('*')) return 'a wildcard is the first label of the host: *.example.com';
  const labels = name.replace(/\.$/, '').split('.');
  const numeric = /^(\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? '');
  if (numeric) {
    return isIP(name) === 4 && name === host ? undefined : 'not an IPv4 address of four numbers';
  }
  const valid = labels.every((label) => /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$/.test(label));
  return valid && name.length <= 253
    ? undefined
    : 'the host name is not valid (international names in their xn-- form)';
}

function portProblem(port: string | undefined): string | undefined {
  if (port === undefined || (Number(port) >= 1 && Number(port) <= 65535)) return undefined;
  return 'the port must be from 1 to 65535';
}

function pathProblem(path: string): string | undefined {
  const plain = !/\/\/|%2f|%5c|%25|\\/i.test(path);
  const segments = path.split('/').map((segment) => segment.replaceAll(/%2e/gi, '.'));
  return plain && !segments.includes('.') && !segments.includes('..')
    ? undefined
    : 'the path prefix must not have empty, dot or encoded segments';
}

function networkProblem(text: string): string | undefined {
  const parts = /^([0-9a-fA-F:.]+)\/(\d{1,3})(?::(\d{1,5}))?$/.exec(text);
  if (parts === null) return 'must be cidr:<network>/<bits>[:port]';
  const family = isIP(parts[1] ?? '');
  const [narrowest, widest] = family === 4 ? [32, 8] : [128, 7];
  const bits = Number(parts[2]);
  if (family === 0 || bits > narrowest) return 'the network is not valid';
  return bits < widest ? 'the network is too wide' : portProblem(parts[3]);
}
