// Looks at an extension's page in its host page, in Chromium, and prints what it saw as JSON:
// browse.mjs SDK-FOLDER URL [SCREENSHOT]
import { createRequire } from 'node:module';

const [sdk, url, screenshot] = process.argv.slice(2);
const { chromium } = createRequire(`${sdk}/package.json`)('playwright-core');

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const problems = [];
try {
  const page = await browser.newPage({ viewport: { width: 960, height: 420 } });
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (line) => line.type() === 'error' && problems.push(line.text()));
  await page.goto(url);
  const frame = page.frameLocator('#extension');
  const value = frame.locator('#value');
  const text = async (wanted) => {
    await value.filter({ hasText: wanted }).waitFor({ timeout: 20_000 });
    return value.textContent();
  };
  const before = await text(/^\d+$/);
  await frame.locator('#count').click();
  const after = await text(String(Number(before) + 1));
  const primary = () =>
    frame
      .locator('html')
      .evaluate((root) => getComputedStyle(root).getPropertyValue('--alga-primary'));
  const light = await primary();
  await page.click('#theme');
  await frame.locator('html').evaluate(
    (root, old) =>
      new Promise((done) => {
        const look = () => {
          const now = getComputedStyle(root).getPropertyValue('--alga-primary');
          if (now !== old) done();
          else setTimeout(look, 20);
        };
        look();
      }),
    light,
  );
  const height = Number(await page.getAttribute('#extension', 'height'));
  if (screenshot) await page.screenshot({ path: screenshot });

  // The same page inside a page that only claims to be the host.
  const liar = await browser.newPage();
  const refused = [];
  liar.on('pageerror', (error) => refused.push(error.message));
  const source = new URL(await page.getAttribute('#extension', 'src'));
  source.searchParams.set('parentOrigin', 'https://app.example.com');
  await liar.goto(url);
  await liar.setContent(`<iframe src="${source.href}"></iframe>`);
  for (let wait = 0; wait < 100 && refused.length === 0; wait += 1) await liar.waitForTimeout(50);

  const status = await page.textContent('#status');
  const answer = { before, after, light, dark: await primary(), height, status, problems, refused };
  process.stdout.write(JSON.stringify(answer));
} finally {
  await browser.close();
}
