// Generated from wit/extension-runner.wit by `npm run generate`. Do not edit.

/** The capability that guards each interface of the world. */
export const CAPABILITY_OF = {
  context: 'cap:context.read',
  config: 'cap:config.read',
  secrets: 'cap:secrets.get',
  http: 'cap:http.fetch',
  storage: 'cap:storage.kv',
  logging: 'cap:log.emit',
  'ui-proxy': 'cap:ui.proxy',
  user: 'cap:user.read',
} as const;

export type InterfaceName = keyof typeof CAPABILITY_OF;
export type Capability = (typeof CAPABILITY_OF)[InterfaceName];

/** The version of the package `alga:extension` that these bindings speak. */
export const WIT_VERSION = '1.0.0';
