/*
 * Read files at a steady pace, as a monitoring agent does, until its parent ends.
 *
 *     pacer MILLISECONDS FILE...
 *
 * Each file is opened, read to its end and closed every MILLISECONDS, beginning at a moment of its own.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void rest_until(struct timespec *due, long milliseconds)
{
	due->tv_sec += milliseconds / 1000;
	due->tv_nsec += milliseconds % 1000 * 1000000;
	if (due->tv_nsec >= 1000000000) {
		due->tv_nsec -= 1000000000;
		due->tv_sec++;
	}
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL);
}

int main(int argc, char **argv)
{
	static char buffer[1 << 17];
	struct timespec due;
	long milliseconds = argc > 2 ? atol(argv[1]) : 0;

	if (milliseconds <= 0) {
		fprintf(stderr, "usage: pacer MILLISECONDS FILE...\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srand((unsigned int)time(NULL) ^ (unsigned int)(clock() << 8) ^ (unsigned int)getppid());
	clock_gettime(CLOCK_MONOTONIC, &due);
	rest_until(&due, rand() % milliseconds);
	for (;;) {
		for (int i = 2; i < argc; i++) {
			int fd = open(argv[i], O_RDONLY | O_CLOEXEC);

			if (fd < 0) {
				perror(argv[i]);
				return 1;
			}
			while (read(fd, buffer, sizeof(buffer)) > 0)
				;
			close(fd);
		}
		rest_until(&due, milliseconds);
	}
}
