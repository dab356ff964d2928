import { createHostBindings, type HostBindings } from '../reference.js';
import { TestHost, type TestHostOptions } from './test-host.js';

/** Members of each group that a test replaces. */
export type HostBindingOverrides = {
  [Group in keyof HostBindings]?: Partial<HostBindings[Group]>;
};

/**
 * The reference's test double for two-argument handlers: bindings over a host in memory, with the
 * given members replaced.
 */
export function createMockHostBindings(
  overrides: HostBindingOverrides = {},
  options: TestHostOptions = {},
): HostBindings {
  const host = new TestHost({ user: {}, ...options });
  const identity = {
    tenantId: 'test-tenant',
    extensionId: 'test-extension',
    installId: 'test-install',
    ...options.context,
  };
  const bindings = createHostBindings(host.imports, identity);
  const merged = Object.entries(bindings).map(([group, members]: [string, object]) => [
    group,
    mergeGroup(members, overrides[group as keyof HostBindings]),
  ]);
  return Object.fromEntries(merged) as HostBindings;
}

/** Keeps proxies (the interfaces that always deny) alive under the overrides. */
function mergeGroup(members: object, override: object | undefined): object {
  if (override === undefined) return members;
  return new Proxy(members, {
    get: (target, name, receiver) =>
      (name in override
        ? Reflect.get(override, name)
        : Reflect.get(target, name, receiver)) as unknown,
  });
}
