// A request whose progress is seen: fetch() does not tell how much of a body was sent, XMLHttpRequest does.

const NO_BODY = new Set([204, 205, 304]);

function headersOf(request) {
  const headers = new Headers();
  for (const line of request.getAllResponseHeaders().trim().split(/[\r\n]+/)) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return headers;
}

/**
 * Send a body and give a Response as fetch() would; its failures are fetch()'s too.
 * @param {(share: number, receiving: boolean) => void} onProgress gets 0 to 1 of what was sent, then of the answer.
 */
export function upload(path, { method, headers, body, signal }, onProgress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const end = () => signal?.removeEventListener('abort', stop);
    request.open(method, path);
    request.responseType = 'blob';
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total, lengthComputable }) => lengthComputable && onProgress(loaded / total, false);
    request.onprogress = ({ loaded, total, lengthComputable }) => lengthComputable && onProgress(loaded / total, true);
    request.onload = () => {
      end();
      const { status, statusText } = request;
      const content = NO_BODY.has(status) ? null : request.response;
      done(new Response(content, { status, statusText, headers: headersOf(request) }));
    };
    request.onerror = () => (end(), fail(new TypeError('the request failed')));
    request.onabort = () => (end(), fail(new DOMException('given up', 'AbortError')));
    if (signal?.aborted) return void request.onabort();
    signal?.addEventListener('abort', stop, { once: true });
    request.send(body);
  });
}
