/** An HTTP proxy on loopback that keeps what it is asked. */

import { createServer, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';

/** No proxy of the machine that runs the test. */
export const NO_PROXIES = {
  ...{
    http_proxy: '',
    HTTP_PROXY: '',
    https_proxy: '',
    HTTPS_PROXY: '',
    no_proxy: '',
    NO_PROXY: '',
  },
};

export class StandInProxy {
  /** `GET http://host/path`, or `CONNECT host:port` for what is encrypted. */
  readonly seen: string[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((asked, answer) => {
      this.seen.push(`${asked.method} ${asked.url}`);
      const { method, headers } = asked;
      const passed = httpRequest(asked.url ?? '', { method, headers }, (given) => {
        answer.writeHead(given.statusCode ?? 500, given.headers);
        given.pipe(answer);
      });
      asked.pipe(passed);
    });
    this.#server.on('connect', (asked, socket) => {
      this.seen.push(`CONNECT ${asked.url}`);
      const [host = '', port] = (asked.url ?? '').split(':');
      const other = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      other.on('error', () => socket.destroy());
      other.pipe(socket).pipe(other);
    });
  }

  static async start(): Promise<StandInProxy> {
    const proxy = new StandInProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
