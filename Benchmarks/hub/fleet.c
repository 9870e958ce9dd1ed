// fleet: many MQTT 3.1.1 clients over TLS in one thread, to measure a hub or a broker.
//
//   fleet connect|publish|twin KEY=VALUE…
//
// connect   opens `count` connections, `parallel` at a time, prints how fast, and holds them until standard input ends
// publish   `count` connections with `window` messages in flight each, or together `rate` a second; counts acknowledgements
// twin      `count` connections that report properties, `window` requests in flight each; counts the answers
//
// host port identities count parallel window seconds rate size qos
// identities: a file with a line for each client: id, user, password and topic, with tabs between them. Without it the clients
// are called c0, c1 …, say nobody, and publish to bench.
//
// One JSON object on standard output, for `connect` before it holds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../mqtt.h"

enum { FRESH, CONNECTING, GREETING, ASKING, READY };
enum { SLOTS = 1024 };

typedef struct {
    int socket, state, wantsWrite;
    SSL *ssl;
    char *id, *user, *password, *topic;
    uint8_t *input, *output;
    size_t filled, inputRoom, queued, outputRoom;
    long flying;
    uint16_t nextID;
    uint64_t *sentAt;
} Client;

static Client *clients;
static long count, opened, ready, acknowledged, sent;
static int epoll;
static SSL_CTX *context;
static const char *mode;
static long window, size, qos;
static double *latencies;
static long latencyCount, latencyRoom;

static void reserve(uint8_t **bytes, size_t *room, size_t wanted) {
    if (wanted <= *room) return;
    size_t more = *room ? *room : 256;
    while (more < wanted) more *= 2;
    *bytes = realloc(*bytes, more);
    *room = more;
}

static void watch(Client *client) {
    struct epoll_event event = {EPOLLIN | (client->wantsWrite ? EPOLLOUT : 0), {.ptr = client}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->socket, &event);
}

static void flush(Client *client) {
    while (client->queued > 0) {
        int written = SSL_write(client->ssl, client->output, (int)client->queued);
        if (written <= 0) {
            int error = SSL_get_error(client->ssl, written);
            if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) fail("%s was disconnected", client->id);
            if (!client->wantsWrite) {
                client->wantsWrite = 1;
                watch(client);
            }
            return;
        }
        memmove(client->output, client->output + written, client->queued - (size_t)written);
        client->queued -= (size_t)written;
    }
    if (client->wantsWrite) {
        client->wantsWrite = 0;
        watch(client);
    }
}

static uint8_t *room(Client *client, size_t wanted) {
    reserve(&client->output, &client->outputRoom, client->queued + wanted);
    return client->output + client->queued;
}

static void greet(Client *client) {
    static uint8_t body[1 << 14];
    size_t length = string(body, "MQTT");
    body[length++] = 4;
    body[length++] = (uint8_t)(2 | (client->user ? 0x80 : 0) | (client->password ? 0x40 : 0));
    body[length++] = 1200 >> 8;
    body[length++] = 1200 & 0xff;
    length += string(body + length, client->id);
    if (client->user) length += string(body + length, client->user);
    if (client->password) length += string(body + length, client->password);
    uint8_t *out = room(client, length + 8);
    size_t start = header(out, 0x10, length);
    memcpy(out + start, body, length);
    client->queued += start + length;
    client->state = GREETING;
    flush(client);
}

static void ask(Client *client) {
    uint8_t body[256];
    body[0] = 0;
    body[1] = 1;
    size_t length = 2 + string(body + 2, "$iothub/twin/res/#");
    body[length++] = 0;
    uint8_t *out = room(client, length + 8);
    size_t start = header(out, 0x82, length);
    memcpy(out + start, body, length);
    client->queued += start + length;
    client->state = ASKING;
    flush(client);
}

// Puts one message, or one report, behind what is queued.
static void say(Client *client) {
    static char topic[512];
    static uint8_t *payload;
    if (!payload) payload = memset(malloc((size_t)size + 64), 'x', (size_t)size + 64);
    int isTwin = !strcmp(mode, "twin");
    client->nextID = client->nextID % (SLOTS - 1) + 1;
    size_t length = (size_t)size;
    int quality = isTwin ? 0 : (int)qos;
    if (isTwin) {
        snprintf(topic, sizeof topic, "$iothub/twin/PATCH/properties/reported/?$rid=%d", client->nextID);
        length = (size_t)sprintf((char *)payload, "{\"value\":%ld}", sent);
    } else {
        snprintf(topic, sizeof topic, "%s", client->topic);
    }
    size_t whole = 2 + strlen(topic) + (quality ? 2 : 0) + length;
    uint8_t *out = room(client, whole + 8);
    size_t place = header(out, (uint8_t)(0x30 | quality << 1), whole);
    place += string(out + place, topic);
    if (quality) {
        out[place++] = (uint8_t)(client->nextID >> 8);
        out[place++] = (uint8_t)client->nextID;
    }
    memcpy(out + place, payload, length);
    client->queued += place + length;
    if (!client->sentAt) client->sentAt = calloc(SLOTS, sizeof *client->sentAt);
    client->sentAt[client->nextID] = now();
    if (quality || isTwin) client->flying++;
    sent++;
}

static void answered(Client *client, unsigned id) {
    client->flying--;
    acknowledged++;
    if (id < SLOTS && client->sentAt && latencyCount < latencyRoom)
        latencies[latencyCount++] = (double)(now() - client->sentAt[id]) / 1e6;
}

static void take(Client *client, const uint8_t *packet, size_t length) {
    switch (packet[0] & 0xf0) {
    case 0x20:
        if (packet[3]) fail("%s is refused with code %d", client->id, packet[3]);
        if (!strcmp(mode, "twin")) return ask(client);
        client->state = READY;
        ready++;
        break;
    case 0x90:
        client->state = READY;
        ready++;
        break;
    case 0x40: answered(client, (unsigned)(packet[2] << 8 | packet[3])); break;
    case 0x30: {
        const uint8_t *found = memmem(packet, length, "$rid=", 5);
        if (!found) break;
        if (!memmem(packet, length, "/res/20", 7)) fail("a report of %s is refused: %.60s", client->id, packet + 4);
        answered(client, (unsigned)atoi((const char *)found + 5));
        break;
    }
    default: break;
    }
}

static void hear(Client *client) {
    for (;;) {
        reserve(&client->input, &client->inputRoom, client->filled + 4096);
        int got = SSL_read(client->ssl, client->input + client->filled, (int)(client->inputRoom - client->filled));
        if (got <= 0) {
            int error = SSL_get_error(client->ssl, got);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) break;
            fail("%s was disconnected", client->id);
        }
        client->filled += (size_t)got;
        size_t used = 0;
        for (;;) {
            size_t place = used + 1, length = 0;
            int shift = 0, isWhole = 0;
            for (; place < client->filled; place++, shift += 7) {
                length |= (size_t)(client->input[place] & 0x7f) << shift;
                if (!(client->input[place] & 0x80)) {
                    isWhole = 1;
                    break;
                }
            }
            if (!isWhole || place + 1 + length > client->filled) break;
            take(client, client->input + used, place + 1 + length - used);
            used = place + 1 + length;
        }
        memmove(client->input, client->input + used, client->filled - used);
        client->filled -= used;
    }
    // An idle client keeps nothing.
    if (!client->filled && !strcmp(mode, "connect")) {
        free(client->input);
        free(client->output);
        client->input = client->output = NULL;
        client->inputRoom = client->outputRoom = 0;
    }
}

static struct sockaddr_in address;

static void openOne(Client *client) {
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->socket < 0) fail("no more sockets: %s", strerror(errno));
    int one = 1;
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->socket, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("cannot connect: %s", strerror(errno));
    client->ssl = SSL_new(context);
    SSL_set_fd(client->ssl, client->socket);
    SSL_set_connect_state(client->ssl);
    client->state = CONNECTING;
    client->wantsWrite = 1;
    struct epoll_event event = {EPOLLIN | EPOLLOUT, {.ptr = client}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->socket, &event);
    opened++;
}

static void shake(Client *client) {
    int done = SSL_do_handshake(client->ssl);
    if (done == 1) {
        client->wantsWrite = 0;
        watch(client);
        return greet(client);
    }
    int error = SSL_get_error(client->ssl, done);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail("TLS failed for %s", client->id);
    int wants = error == SSL_ERROR_WANT_WRITE;
    if (wants != client->wantsWrite) {
        client->wantsWrite = wants;
        watch(client);
    }
}

static void turn(int milliseconds) {
    struct epoll_event events[256];
    int found = epoll_wait(epoll, events, 256, milliseconds);
    for (int place = 0; place < found; place++) {
        Client *client = events[place].data.ptr;
        if (client->state == CONNECTING) {
            shake(client);
            continue;
        }
        if (events[place].events & EPOLLOUT) flush(client);
        if (events[place].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(client);
    }
}

static void readIdentities(void) {
    const char *path = text("identities", NULL);
    FILE *file = path ? fopen(path, "r") : NULL;
    if (path && !file) fail("%s cannot be read", path);
    static char line[1 << 13];
    for (long place = 0; place < count; place++) {
        Client *client = &clients[place];
        if (!file) {
            if (asprintf(&client->id, "c%ld", place) < 0) fail("no memory");
            client->topic = "bench";
            continue;
        }
        if (!fgets(line, sizeof line, file)) fail("%s has fewer than %ld lines", path, count);
        line[strcspn(line, "\n")] = 0;
        char *rest = line;
        client->id = strdup(strsep(&rest, "\t"));
        client->user = strdup(rest ? strsep(&rest, "\t") : "");
        client->password = strdup(rest ? strsep(&rest, "\t") : "");
        client->topic = strdup(rest ? rest : "bench");
    }
    if (file) fclose(file);
}

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int argumentCount, char **arguments) {
    if (argumentCount < 2) fail("connect, publish or twin?");
    program = "fleet";
    mode = arguments[1];
    options = arguments + 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    count = number("count", 1);
    window = number("window", 1);
    size = number("size", 256);
    qos = number("qos", 1);
    if (window >= SLOTS) fail("the window is less than %d", SLOTS);
    clients = calloc((size_t)count, sizeof *clients);
    readIdentities();
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)number("port", 8883));
    inet_pton(AF_INET, text("host", "127.0.0.1"), &address.sin_addr);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    epoll = epoll_create1(0);

    long parallel = number("parallel", 64);
    uint64_t began = now();
    while (ready < count) {
        while (opened < count && opened - ready < parallel) openOne(&clients[opened]);
        turn(1000);
        if (now() - began > 600000000000u) fail("only %ld of %ld were connected in 600 s", ready, count);
    }
    double connecting = (double)(now() - began) / 1e9;
    if (!strcmp(mode, "connect")) {
        printf("{\"connected\":%ld,\"seconds\":%.3f,\"rate\":%.0f}\n", count, connecting, (double)count / connecting);
        fflush(stdout);
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        while (!poll(&input, 1, 0)) turn(100);
        return 0;
    }

    long seconds = number("seconds", 8), rate = number("rate", 0);
    latencyRoom = 8000000;
    latencies = malloc((size_t)latencyRoom * sizeof *latencies);
    began = now();
    uint64_t end = began + (uint64_t)seconds * 1000000000u;
    long next = 0;
    while (now() < end) {
        if (rate) {
            long due = (long)((double)(now() - began) / 1e9 * (double)rate) - sent;
            for (; due > 0; due--) {
                Client *client = &clients[next++ % count];
                if (client->flying < SLOTS - 2) say(client);
                flush(client);
            }
            turn(1);
        } else {
            for (long place = 0; place < count; place++) {
                Client *client = &clients[place];
                // With quality 0 nothing is answered: the socket itself holds back.
                long room = qos || !strcmp(mode, "twin") ? window - client->flying : client->queued ? 0 : window;
                if (room <= 0) continue;
                while (room-- > 0) say(client);
                flush(client);
            }
            turn(qos || !strcmp(mode, "twin") ? 1000 : 0);
        }
    }
    double took = (double)(now() - began) / 1e9;
    printf("{\"sent\":%ld,\"acknowledged\":%ld,\"seconds\":%.3f,\"rate\":%.0f", sent, acknowledged, took,
           (double)(qos || !strcmp(mode, "twin") ? acknowledged : sent) / took);
    if (latencyCount) {
        qsort(latencies, (size_t)latencyCount, sizeof *latencies, compare);
        printf(",\"p50\":%.3f,\"p99\":%.3f", latencies[latencyCount / 2], latencies[latencyCount * 99 / 100]);
    }
    puts("}");
    return 0;
}
