import { expect, test } from 'vitest';

import { egressRuleProblem } from './egress.js';

test.each([
  'https://api.example.com',
  'http://127.0.0.1:8081/v1',
  'GET https://*.example.org:8443/v1/',
  'https://*',
  'https://[2606:4700::1]/x',
  'cidr:10.0.0.0/8:80',
  'cidr:fd00::/8',
  'cidr:127.0.0.1/32:8081',
])('accepts %s', (rule) => {
  expect(egressRuleProblem(rule)).toBeUndefined();
});

// The rules that src/domain/egress_policy_test.cc refuses, so that both sides agree.
test.each([
  '',
  'api.example.com',
  'https://',
  'https://api.*.com',
  'https://a*.com',
  'https://*a.com',
  'https://*.*.com',
  'https://**',
  'https://user:pw@example.com',
  'file:///etc',
  'ftp://a.com',
  'https://a.com?x=1',
  'https://a.com#x',
  'get https://a.com',
  'CONNECT https://a.com',
  'GET  ',
  'https://a.com:0',
  'https://a.com:65536',
  'https://127.1',
  'https://*.127.0.0.1',
  'https://*.1.2.3.4',
  'https://a.com/a//b',
  'https://a.com/a%2Fb',
  'https://a.com/%252e',
  'cidr:',
  'cidr:10.0.0.0',
  'cidr:0.0.0.0/0',
  'cidr:10.0.0.0/7',
  'cidr:::/0',
  'cidr:10.0.0.0/8:0',
  'cidr:10.0.0.0/8:',
  'cidr:10.0.0.0/8:65536',
  'cidr:10.0.0.0/8:80x',
  'cidr:example.com/8',
  'https://ex\u00e4mple.com',
  '*',
])('refuses "%s"', (rule) => {
  expect(egressRuleProblem(rule)).toEqual(expect.any(String));
});
