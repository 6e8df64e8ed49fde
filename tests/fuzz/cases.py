"""Handshakes and first messages that nobody wants: each follows from a seed and a number.

A case is a dictionary of plain values, so that one that fails can be printed and run again.
"""
import json
import random
from urllib.parse import quote_from_bytes

#: Bytes that somebody somewhere takes for something else.
NASTY = [
    b"", b"\x00", b"\r\n", b"\r\nX-Injected: 1", b"\n", b"\t", b" ", b"\x7f", b"\x1b[31m", b"\xff", b"\xff\xfe", b"\xc3\x28",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xae", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xd9\xa3", b"\xef\xbc\x91",
    b"%00", b"%0d%0aX-Injected:%201", b"%ff", b"%ed%a0%80", b"%c3%a4", b"%", b"%zz", b"%2e%2e%2f", b"..", b"//", b"\\",
    b"'", b'"', b"<script>", b"{{7*7}}", b"${7*7}", b"%s%n", b";", b",", b"=", b"&", b"?", b"#", b"@", b":", b"[",
    b"]", b"*",
    b"-1", b"0", b"1e999", b"NaN", b"9" * 30, b"9" * 5000, b"0x10", b"null", b"true", b"a" * 300, b"a" * 9000,
]
PATHS = [
    b"/", b"/echo/", b"/echo", b"/json/", b"/json-text/", b"/token/", b"/token-json/", b"/token-error/", b"/facts/",
    b"/members/",
    b"/guests/", b"/subprotocols/", b"/json-subprotocols/", b"/number/1/", b"/number/999999999999999999999/", b"/text/a/",
    b"/slug/a-b/", b"/uuid/75194d3a-6885-417e-a8a8-6c931e272f00/", b"/rest/a/b/c", b"/digits/123/", b"/page/", b"/both/",
    b"/silent/", b"/late/", b"/nowhere/", b"//echo/", b"/./echo/", b"/ECHO/", b"http://testserver/echo/", b"*", b"",
    b"echo/",
]
QUERIES = [
    b"", b"a=1", b"a=1&a=2", b"a", b"=", b"&&&", b"a=%ff", b"a=%00", b"a=\xff", b"a[]=1&a[b]=2", b"&".join([b"a=1"] * 2000),
    b"a=1;b=2", b"csrfmiddlewaretoken=x", b"__proto__=1", b"a=" + b"b" * 70000, b"%", b"a=%u0041",
]
HOSTS = [
    b"testserver", b"testserver:80", b"TESTSERVER", b"testserver.", b"testserver:", b"testserver:99999", b"testserver:a",
    b"localhost", b"127.0.0.1", b"[::1]", b"[::1]:8000", b"[::1", b"::1", b"[fe80::1%25eth0]", b"evil.example",
    b"testserver@evil.example", b"evil.example#testserver", b"testserver, evil.example", b"testserver\x00.evil.example",
    b"xn--testserver-9za", b"t\xc3\xa4stserver", b"t\xe4stserver", b".testserver", b"a.example.com", b"example.com.evil",
    b"1.2.3.4:80:80", b"*", b"", b" ", b"0x7f.1", b"\xd9\xa3.\xd9\xa3",
]
ORIGINS = [b"http://" + host for host in HOSTS] + [
    b"null", b"", b"https://testserver", b"https://a.example.com", b"http://testserver/", b"http://testserver/path",
    b"HTTP://testserver", b"http://testserver\\@evil.example", b"http://user:pass@testserver", b"http:testserver",
    b"http://",
    b"//testserver", b"ws://testserver", b"chrome-extension://abcdef", b"file://", b"data:text/html,x",
    b"javascript:alert(1)",
    b"http://[", b"http://[::1]]", b"http://[v1.a]", b"http://testserver http://evil.example", b"http://testserver:-1",
    b"http://testserver:65536", b"http://\xe2\x84\xaa.example.com", b"http://\xef\xbc\x8ftestserver", b"about:blank",
]
TOKEN = b"a" * 64
COOKIES = [
    b"sessionid=abcdefghijklmnopqrstuvwxyz012345", b"sessionid=", b"sessionid", b"sessionid=a", b"sessionid=..%2f..%2fetc",
    b'sessionid="\\000\\001\\377"', b"sessionid=" + b"a" * 9000, b"sessionid=a:b:c", b"sessionid=.eJx:1:x", b"sessionid={}",
    b"csrftoken=" + TOKEN, b"csrftoken=" + b"b" * 32, b"csrftoken=",
    b"csrftoken=\xff", b'csrftoken="' + b"\\303" * 64 + b'"',
    b"csrftoken=a; csrftoken=" + TOKEN, b"messages=x", b'messages="[[\\"__json_message\\"]]$x"', b"messages=a:b:c",
    b"messages=W10:1abc:x", b"django_language=fi", b"django_language=../../etc", b"django_language=" + b"a-" * 300, b"a=b=c",
    b";", b";;;", b"=", b"a", b"a;b;c", b'a="b; c"', b'a="\\', b"$Version=1; a=b", b"__Host-a=b", b"a=\xc3\xa4",
    b"\xff=\xff",
    b"a\x00=b", b"; ".join([b"a=b"] * 3000), b"expires=x; path=/; a=b", b"A=B, C=D",
]
OTHER_HEADERS = [
    (b"accept-language", [b"fi", b"", b"*", b"xx;q=2", b"a-" * 400, b"fi;q=" + b"0" * 400, b"," * 4000, b"zh-hant-tw,\xff"]),
    (b"x-forwarded-proto", [b"https", b"http", b"HTTPS,http", b"\xff"]),
    (b"x-forwarded-host", HOSTS),
    (b"x-forwarded-port", [b"443", b"-1", b"a", b"9" * 400, b"\xd9\xa3"]),
    (b"x-forwarded-for", [b"1.2.3.4", b"unknown", b"\xff"]),
    (b"user-agent", [b"", b"Mozilla/5.0", b"() { :;}; x"]),
    (b"content-length", [b"0", b"-1", b"a", b"9" * 400]),
    (b"content-type", [b"text/plain; charset=nonsense", b"multipart/form-data; boundary=\xff", b"application/json"]),
    (b"referer", [b"https://testserver/", b"http://[", b"\xff", b"x" * 3000]),
    (b"authorization", [b"Basic \xff", b"Basic " + b"=" * 99, b"Bearer"]),
    (b"if-modified-since", [b"0", b"Thu, 99 Foo 9999 99:99:99 GMT"]),
    (b"x-csrftoken", [TOKEN, b"", b"\xff", b"x" * 4000]),
    (b"x-requested-with", [b"XMLHttpRequest"]),
    (b"x_underscore", [b"1"]),
    (b"remote_user", [b"admin"]),
    (b"remote-user", [b"admin"]),
]
SUBPROTOCOLS = [
    "alpha", "beta", "gamma", "", " ", "alpha,beta", "ALPHA", "a" * 5000, "\xe4", "alpha\r\nX-Injected: 1", "\x00", "(",
    '"alpha"',
]
DEEP = 3000
JSON = [
    "", "{}", "[]", "null", "true", "1", '"a"', "NaN", "-Infinity", "1e999", "-0", "9" * 5000, "9" * 60000,
    "1" + "0" * 4299, "[" * DEEP,
    "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "{", '{"a"}', '{"a":1,"a":2}', '"\\ud800"', '"\\u0000"',
    "\ufeff{}",
    '{"\\ud800": "\\udfff"}', " " * 5000, '{"csrfmiddlewaretoken": null}', '{"csrfmiddlewaretoken": "x"}', "// {}", "'a'",
    '{"csrfmiddlewaretoken": ' + json.dumps(TOKEN.decode()) + "}", '{"csrfmiddlewaretoken": {"a": [1]}}',
    '{"csrfmiddlewaretoken": "' + "a" * 9000 + '"}', '{"csrfmiddlewaretoken": "\\ud800"}', '{"csrfmiddlewaretoken": 1e999}',
    '{"csrfmiddlewaretoken": "' + "\\u0663" * 64 + '"}', '{"csrfmiddlewaretoken": "' + "\\u0000" * 32 + '"}',
    '["csrfmiddlewaretoken"]',
]
TEXTS = JSON + ["a", "\x00", "\u2028", "\U0001f600" * 99, "a" * 4000, "a" * 5000, "\xe4" * 2049, "\r\nX-Injected: 1"]
BINARIES = [
    b"", b"\x00", b"\xff\xfe", b"{}", b"[1]", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "[1]".encode("utf-32"),
    b"\x80" * 5000,
]

#: What is not a handshake of RFC 6455 any more, and what are no frames.
WIRE = {
    "method": [b"POST", b"HEAD", b"get", b"GE\x00T", b"", b"PRI", b"CONNECT"],
    "version": [b"HTTP/1.0", b"HTTP/9.9", b"HTTP/1.1 ", b""],
    "upgrade": [b"WebSocket", b"h2c", b"websocket, h2c", b"", b"\xff"],
    "connection": [b"keep-alive, Upgrade", b"close", b"", b"upgrade" * 500],
    "key": [b"", b"AAAA", b"A" * 24, b"=" * 24, b"\xff" * 24, b"A" * 9000],
    "websocket version": [b"12", b"8, 13", b"-13", b"", b"9" * 400],
    "line": [b"no colon", b": nameless", b" folded: 1", b"bad name: 1", b"Host: a\r\nHost: b", b"a:" + b"b" * 70000,
    b"\x00: 1"],
    "extensions": [b"permessage-deflate", b"permessage-deflate; server_max_window_bits=99", b"x" * 9000, b";;;", b"\xff"],
    "early": [True],
    "frames": [
        [b"\x81\x01a"], [b"\xc1\x81\0\0\0\0a"], [b"\x83\x81\0\0\0\0a"], [b"\x81\x82\0\0\0\0\xff\xfe"],
        [b"\x01\x81\0\0\0\0a", b"\x81\x81\0\0\0\0b"], [b"\x80\x81\0\0\0\0a"], [b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0"],
        [b"\x89\xfe\x00\x7e\0\0\0\0" + b"a" * 126], [b"\x09\x80\0\0\0\0"], [b"\x88\x81\0\0\0\0a"],
        [b"\x88\x82\0\0\0\0\x03\xed"],
        [b"\x88\x85\0\0\0\0\x03\xe8\xff\xfe\xfd"], [b"\x8a\x80\0\0\0\0"] * 50, [b"\x89\x80\0\0\0\0"] * 50,
        [b"\x01\x80\0\0\0\0"] * 500,
        [b"GET / HTTP/1.1\r\n\r\n"], [b"\x82\xfe\xff\xff\0\0\0\0abc"], [b"\xc1\x85\0\0\0\0\xf2\x48\x04\x00\x00"],
    ],
}

#: What a client does in the end.
ENDS = [None, 1000, 1001, 1005, 1006, 1012, 4000, 4999, 0, 65535, -1]
#: Which of the projects of ``project.py`` it meets.
PROJECTS = ["plain", "cookies", "cookies", "strict", "threads", "members"]


def case(seed, number):
    """Return a case."""
    return Maker(random.Random("{}.{}".format(seed, number))).case()


class Maker:
    """Makes a case by chance."""

    def __init__(self, random):
        self.random = random

    def chance(self, probability):
        return self.random.random() < probability

    def one(self, values):
        return self.random.choice(values)

    def some(self, values, most):
        return [self.one(values) for _ in range(self.random.randint(0, most))]

    def case(self):
        """Return a case: what a client asks for, with which headers, what it says, and how it leaves."""
        messages = [self.message() for _ in range(self.random.choice([0, 1, 1, 1, 2, 3, 9]))]
        return {
            "project": self.one(PROJECTS),
            "target": self.target(),
            "headers": self.headers(),
            "subprotocols": self.some(SUBPROTOCOLS, 3) if self.chance(0.3) else [],
            "messages": messages,
            "end": self.one(ENDS),
            "scope": self.scope() if self.chance(0.2) else {},
            "wire": self.wire() if self.chance(0.3) else {},
        }

    def spoilt(self, value):
        """Return a value with something nasty in it."""
        at = self.random.randint(0, len(value))
        cut = at + self.random.choice([0, 0, 1, 5, 999])
        return value[:at] + self.one(NASTY) + value[cut:]

    def perhaps_spoilt(self, value, probability=0.15):
        while self.chance(probability):
            value = self.spoilt(value)
        return value

    def target(self):
        path = self.one(PATHS)
        if self.chance(0.2):
            path = self.spoilt(path)
        if self.chance(0.3):
            path = quote_from_bytes(path, safe="/:*").encode()
        if self.chance(0.4):
            path += b"?" + self.perhaps_spoilt(self.one(QUERIES))
        return path

    def headers(self):
        host = self.one(HOSTS) if self.chance(0.1) else b"testserver"
        headers = [(b"host", self.perhaps_spoilt(host, 0.02))]
        if self.chance(0.2):
            headers.append((b"origin", self.perhaps_spoilt(self.one(ORIGINS))))
        if self.chance(0.5):
            headers.append((b"cookie", self.perhaps_spoilt(b"; ".join(self.some(COOKIES, 3)))))
        for name, values in self.some(OTHER_HEADERS, 3) if self.chance(0.4) else ():
            headers.append((name, self.perhaps_spoilt(self.one(values))))
        if self.chance(0.06):
            headers.append(self.one(headers))
        if self.chance(0.04):
            headers.append((self.perhaps_spoilt(b"x-" + self.one(NASTY)), self.one(NASTY)))
        if self.chance(0.02):
            del headers[0]
        self.random.shuffle(headers)
        return headers

    def message(self):
        if self.chance(0.2):
            return self.perhaps_spoilt(self.one(BINARIES))
        text = self.one(TEXTS)
        while self.chance(0.15):
            at = self.random.randint(0, len(text))
            text = text[:at] + self.one(TEXTS) + text[at:]
        return text

    def scope(self):
        """Return what a server might say of itself and the client, and what one that is unlike all others might."""
        items = {
            "scheme": ["ws", "wss", "http", "https", "", None],
            "root_path": ["", "/mounted", "/mounted/", "/\xe4", "/echo"],
            "client": [None, ("127.0.0.1", 1), ("::1", "4711"), ("", None), ("unix:", 0)],
            "server": [None, ("testserver", None), ("/run/socket", None), ("\xe4", 0), ("::1", "8000")],
            "extensions": [None, {}, {"websocket.http.response": {}}],
            "path": [
                "/\ud800/", "/\udcff/", "/text/\ud83d/", "/echo/\x00", "/number/\u0663/", "/digits/\u0663/",
                "/text/\r\nX: 1/",
            ],
            "query_string": [b"", b"\xff", "a=1"],
            "subprotocols": [None, (), ["alpha, beta"]],
        }
        return {name: self.one(items[name]) for name in self.random.sample(sorted(items), self.random.randint(1, 3))}

    def wire(self):
        """Return what is wrong on the wire itself."""
        return {name: self.one(WIRE[name]) for name in self.random.sample(sorted(WIRE), self.random.choice([1, 1, 1, 2, 3]))}
