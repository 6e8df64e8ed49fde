#define _GNU_SOURCE
/* A WebSocket server that does next to nothing, to see how fast the load generator is: one thread, epoll, no copies where
 * they can be avoided. It knows one key, the one our client sends, and trusts its frames: masked with zeros, whole.
 * /echo/ sends back, /push/ sends as many messages as it is told, /ingest/ answers "end" with a number. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (1 << 18)

struct connection {
    int fd;
    char path; /* its first letter; 0 before the handshake */
    long count;
    size_t size;
    unsigned char data[ROOM + 1];
};

static const char ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static unsigned char out[ROOM + 64];

static void say(struct connection *c, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t done = send(c->fd, at, size, MSG_NOSIGNAL);
        if (done <= 0) return;
        at += done;
        size -= done;
    }
}

static size_t put_frame(unsigned char *to, int opcode, const void *payload, size_t size) {
    size_t head = 2;
    to[0] = 0x80 | opcode;
    if (size < 126) {
        to[1] = size;
    } else {
        to[1] = 126;
        to[2] = size >> 8;
        to[3] = size & 255;
        head = 4;
    }
    memcpy(to + head, payload, size);
    return head + size;
}

static void push(struct connection *c, long times) {
    static const char line[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    while (times > 0) {
        size_t used = 0;
        for (; times > 0 && used < 4096; times--) used += put_frame(out + used, 1, line, 32);
        say(c, out, used);
    }
}

/* Answer one frame; return 0 when the connection is over. */
static int frame(struct connection *c, int opcode, unsigned char *payload, size_t size) {
    char number[32];
    if (opcode == 8 || c->path == 'b') {
        say(c, out, put_frame(out, 8, "\x03\xe8", 2));
        return 0;
    }
    c->count++;
    if (c->path == 'p') {
        payload[size] = 0;
        push(c, atol((char *)payload));
    } else if (c->path == 'e') {
        say(c, out, put_frame(out, opcode, payload, size));
    } else if (size == 3 && !memcmp(payload, "end", 3)) {
        say(c, out, put_frame(out, 1, number, sprintf(number, "%ld", c->count - 1)));
    }
    return 1;
}

static int frames(struct connection *c) {
    size_t at = 0;
    while (c->size - at >= 6) {
        unsigned char *head = c->data + at;
        size_t length = head[1] & 127, skip = 6, saved;
        if (length == 126) {
            if (c->size - at < 8) break;
            length = head[2] << 8 | head[3];
            skip = 8;
        }
        if (c->size - at < skip + length) break;
        saved = head[skip + length]; /* push() ends its number there */
        if (!frame(c, head[0] & 15, head + skip, length)) return 0;
        head[skip + length] = saved;
        at += skip + length;
    }
    memmove(c->data, c->data + at, c->size - at);
    c->size -= at;
    return 1;
}

static int readable(struct connection *c) {
    ssize_t got = recv(c->fd, c->data + c->size, ROOM - c->size, 0);
    if (got <= 0) return 0;
    c->size += got;
    if (!c->path) {
        unsigned char *end = memmem(c->data, c->size, "\r\n\r\n", 4);
        if (!end) return 1;
        c->path = c->data[5]; /* after "GET /" */
        say(c, ANSWER, sizeof ANSWER - 1);
        c->size -= end + 4 - c->data;
        memmove(c->data, end + 4, c->size);
    }
    return frames(c);
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 8000)};
    struct epoll_event events[256];
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return 1;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        int count = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                if (!(c = malloc(sizeof *c))) return 1;
                c->path = 0, c->size = 0, c->count = 0;
                if ((c->fd = accept(listener, NULL, NULL)) < 0) {
                    free(c);
                    continue;
                }
                setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
            } else if (!readable(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
