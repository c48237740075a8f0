// An OpenID provider on a free port of this machine. It prints `{"issuer": …}`, obeys lines on standard input, answers each
// with a line, and ends when the input does.
//   add    signs with a new key from now on, and still shows the old ones
//   drop   shows the newest key alone
//   device ID   names that device in access tokens from now on
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

// The library's notices are not our lines.
console.info = console.error;

const [audience] = process.argv.slice(2);
let device;

let made = 0;
function key() {
  // Another kind each time.
  const rsa = made % 2 === 0;
  const pair = rsa
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  made += 1;
  const alg = rsa ? 'RS256' : 'ES256';
  return { ...pair.privateKey.export({ format: 'jwk' }), kid: `key-${made}`, use: 'sig', alg };
}

function provider(issuer, keys) {
  const { alg } = keys[0];
  return new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: 'notes',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['com.example.notes:/signed-in'],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        id_token_signed_response_alg: alg,
      },
    ],
    cookies: { keys: ['for a test'] },
    claims: { openid: ['sub'], profile: ['name'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `${id} of the tests` }) }),
    extraTokenClaims: () => ({ device }),
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid profile',
          audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg } },
        }),
      },
    },
  });
}

let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let keys = [key()];
  const serve = () => {
    answer = provider(issuer, keys).callback();
  };
  const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
  serve();
  say({ issuer });
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const [what, argument] = line.split(' ');
    if (what === 'add') keys = [key(), ...keys];
    if (what === 'drop') keys = [keys[0]];
    if (what === 'device') device = argument;
    serve();
    say({ keys: keys.map(({ kid }) => kid) });
  });
  lines.on('close', () => process.exit(0));
});
