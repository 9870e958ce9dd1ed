// load: a small MQTT 3.1.1 client over TLS that measures one broker: messages from one client to another with QoS 1.
//
//   load throughput|latency|publish KEY=VALUE…
//
// throughput  publishes with a window of unacknowledged messages for `seconds`, and counts what the other client receives
// latency     publishes `rate` messages a second, and tells how long each took to arrive
// publish     publishes `count` messages and ends when all are acknowledged
//
// host port size window seconds rate count
// pub-id pub-user pub-pass pub-topic     sub-id sub-user sub-pass sub-filter
//
// One JSON object on standard output.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "../mqtt.h"

typedef struct {
    int socket;
    SSL *ssl;
    uint8_t input[1 << 19];
    size_t filled, used;
} Link;

static void put(Link *link, const uint8_t *bytes, size_t count) {
    while (count > 0) {
        int written = SSL_write(link->ssl, bytes, (int)count);
        if (written <= 0) fail("the connection was lost while writing");
        bytes += written;
        count -= (size_t)written;
    }
}

// Reads at least something; false at the end of the connection.
static int more(Link *link) {
    memmove(link->input, link->input + link->used, link->filled - link->used);
    link->filled -= link->used;
    link->used = 0;
    int count = SSL_read(link->ssl, link->input + link->filled, (int)(sizeof link->input - link->filled));
    if (count <= 0) return 0;
    link->filled += (size_t)count;
    return 1;
}

static int isReadable(Link *link, int milliseconds) {
    if (SSL_pending(link->ssl) > 0) return 1;
    struct pollfd wanted = {link->socket, POLLIN, 0};
    return poll(&wanted, 1, milliseconds) > 0;
}

// The next whole packet of what was read; NULL when there is none.
static const uint8_t *packet(Link *link, size_t *length) {
    size_t place = link->used + 1, size = 0;
    int shift = 0;
    for (;; place++, shift += 7) {
        if (place >= link->filled) return NULL;
        size |= (size_t)(link->input[place] & 0x7f) << shift;
        if (!(link->input[place] & 0x80)) break;
    }
    place++;
    if (place + size > link->filled) return NULL;
    const uint8_t *start = link->input + link->used;
    *length = place + size - link->used;
    link->used = place + size;
    return start;
}

static const uint8_t *await(Link *link, uint8_t kind, size_t *length) {
    for (;;) {
        const uint8_t *found = packet(link, length);
        if (found && (found[0] & 0xf0) == kind) return found;
        if (!found && !more(link)) fail("the broker closed the connection");
    }
}

static Link *connectAs(const char *id, const char *user, const char *password) {
    Link *link = calloc(1, sizeof *link);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(text("host", "127.0.0.1"), text("port", "8883"), &hints, &found)) fail("no such host");
    link->socket = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(link->socket, found->ai_addr, found->ai_addrlen)) fail("cannot connect: %s", strerror(errno));
    freeaddrinfo(found);
    int one = 1;
    setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    link->ssl = SSL_new(context);
    SSL_set_fd(link->ssl, link->socket);
    if (SSL_connect(link->ssl) != 1) fail("TLS failed");
    uint8_t body[16384], start[8];
    size_t size = string(body, "MQTT");
    body[size++] = 4;
    body[size++] = (uint8_t)(2 | (user ? 0x80 : 0) | (password ? 0x40 : 0));
    body[size++] = 0;
    body[size++] = 120;
    size += string(body + size, id);
    if (user) size += string(body + size, user);
    if (password) size += string(body + size, password);
    put(link, start, header(start, 0x10, size));
    put(link, body, size);
    size_t length;
    const uint8_t *answer = await(link, 0x20, &length);
    if (answer[3] != 0) fail("%s is refused with code %d", id, answer[3]);
    return link;
}

static void subscribe(Link *link, const char *filter) {
    uint8_t body[1024], start[8];
    body[0] = 0;
    body[1] = 1;
    size_t size = 2 + string(body + 2, filter), length;
    body[size++] = 1;
    put(link, start, header(start, 0x82, size));
    put(link, body, size);
    if (await(link, 0x90, &length)[4] > 1) fail("the subscription is refused");
}

static volatile long received;
static volatile uint64_t lastReceived;
static double *latencies;
static long latencyLimit;

static void *receive(void *argument) {
    Link *link = argument;
    static uint8_t acks[1 << 16];
    for (;;) {
        if (!more(link)) return NULL;
        size_t length, pending = 0;
        const uint8_t *found;
        while ((found = packet(link, &length))) {
            if ((found[0] & 0xf0) != 0x30) continue;
            const uint8_t *place = found + 1;
            while (*place++ & 0x80) {}
            place += 2 + (place[0] << 8 | place[1]);
            if (found[0] & 6) {
                memcpy(acks + pending, (uint8_t[]){0x40, 2, place[0], place[1]}, 4);
                pending += 4;
                place += 2;
                if (pending > sizeof acks - 8) {
                    put(link, acks, pending);
                    pending = 0;
                }
            }
            uint64_t sent;
            memcpy(&sent, place, 8);
            uint64_t time = now();
            if (received < latencyLimit) latencies[received] = (double)(time - sent) / 1e6;
            received++;
            lastReceived = time;
        }
        if (pending) put(link, acks, pending);
    }
}

static long acknowledged(Link *link) {
    long count = 0;
    size_t length;
    const uint8_t *found;
    while ((found = packet(link, &length)))
        if ((found[0] & 0xf0) == 0x40) count++;
    return count;
}

static uint8_t *message;
static size_t messageSize, stampPlace, idPlace;

static void makeMessage(void) {
    const char *topic = text("pub-topic", "bench");
    size_t payload = (size_t)number("size", 256);
    message = malloc(payload + strlen(topic) + 64);
    messageSize = header(message, 0x32, 2 + strlen(topic) + 2 + payload);
    messageSize += string(message + messageSize, topic);
    idPlace = messageSize;
    stampPlace = messageSize + 2;
    memset(message + stampPlace, 'x', payload);
    messageSize = stampPlace + payload;
}

static uint8_t batch[1 << 22];

// Writes so many messages at one stroke.
static void publish(Link *link, long count) {
    static uint16_t id;
    size_t size = 0;
    for (long place = 0; place < count; place++) {
        id = id == 65535 ? 1 : (uint16_t)(id + 1);
        message[idPlace] = (uint8_t)(id >> 8);
        message[idPlace + 1] = (uint8_t)id;
        uint64_t time = now();
        memcpy(message + stampPlace, &time, 8);
        memcpy(batch + size, message, messageSize);
        size += messageSize;
        if (size + messageSize > sizeof batch) {
            put(link, batch, size);
            size = 0;
        }
    }
    if (size) put(link, batch, size);
}

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    if (count < 2) fail("throughput, latency or publish?");
    options = arguments + 2;
    const char *mode = arguments[1];
    SSL_library_init();
    makeMessage();
    long window = number("window", 100), seconds = number("seconds", 10), rate = number("rate", 2000);
    int isPublish = !strcmp(mode, "publish"), isLatency = !strcmp(mode, "latency");
    latencyLimit = isLatency ? rate * seconds * 2 : 4000000;
    latencies = malloc((size_t)latencyLimit * sizeof *latencies);
    pthread_t reader;
    if (!isPublish) {
        Link *subscriber = connectAs(text("sub-id", "sub"), text("sub-user", NULL), text("sub-pass", NULL));
        subscribe(subscriber, text("sub-filter", "bench"));
        pthread_create(&reader, NULL, receive, subscriber);
    }
    Link *publisher = connectAs(text("pub-id", "pub"), text("pub-user", NULL), text("pub-pass", NULL));
    uint64_t began = now(), end = began + (uint64_t)seconds * 1000000000u;
    long sent = 0, acked = 0, wanted = isPublish ? number("count", 1000) : -1;
    while (isPublish ? acked < wanted : now() < end) {
        if (isLatency) {
            long due = (long)((double)(now() - began) / 1e9 * (double)rate) - sent;
            if (due > 0) {
                publish(publisher, due);
                sent += due;
            }
            if (isReadable(publisher, 0) && !more(publisher)) fail("the broker closed the connection");
            acked += acknowledged(publisher);
            struct timespec pause = {0, 200000};
            nanosleep(&pause, NULL);
            continue;
        }
        long room = window - (sent - acked);
        if (wanted >= 0 && room > wanted - sent) room = wanted - sent;
        if (room > 0) {
            publish(publisher, room);
            sent += room;
        }
        if (acked < sent && !more(publisher)) fail("the broker closed the connection");
        acked += acknowledged(publisher);
    }
    double took = (double)(now() - began) / 1e9;
    // What is on its way still counts for the latency and is not to disturb the next run.
    for (int rest = 0; !isPublish && rest < 400 && received < sent; rest++) {
        if (isReadable(publisher, 0)) {
            if (!more(publisher)) break;
            acked += acknowledged(publisher);
        }
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
    printf("{\"mode\":\"%s\",\"sent\":%ld,\"acknowledged\":%ld,\"received\":%ld,\"seconds\":%.3f", mode, sent, acked,
           received, took);
    if (isPublish) printf(",\"rate\":%.0f", (double)acked / took);
    if (!isPublish) {
        double all = (double)(lastReceived - began) / 1e9;
        long known = received < latencyLimit ? received : latencyLimit;
        qsort(latencies, (size_t)known, sizeof *latencies, compare);
        printf(",\"rate\":%.0f", (double)received / (all > took ? all : took));
        if (known > 0)
            printf(",\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f", latencies[known / 2], latencies[known * 99 / 100],
                   latencies[known - 1]);
    }
    puts("}");
    return 0;
}
