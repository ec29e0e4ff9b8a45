/*
 * Read one file again and again, the way cat(1) does, and say how long it took.
 *
 *     reader FILE READS THREADS
 *
 * One sample is open + read + read until end of file + close. Every thread takes READS samples. Results go to
 * standard output as one JSON object. Written in C so that the client's own cost does not hide the server's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 128 * 1024, MAX_THREADS = 256, MAX_READS = 10 * 1000 * 1000 };

struct job {
	pthread_t thread;
	double *seconds; /* this thread's samples */
	size_t bytes;    /* size of the file when last read */
};

static const char *path;
static long reads;
static pthread_barrier_t start;

static void die(const char *what, int error)
{
	fprintf(stderr, "reader: %s %s: %s\n", what, path, strerror(error));
	exit(1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static size_t read_once(char *buffer)
{
	size_t total = 0;
	ssize_t count;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("open", errno);
	while ((count = read(fd, buffer, BUFFER_BYTES)) > 0)
		total += (size_t)count;
	if (count < 0)
		die("read", errno);
	close(fd);
	return total;
}

static void *work(void *argument)
{
	struct job *job = argument;
	char *buffer = malloc(BUFFER_BYTES);

	if (!buffer)
		die("buffer for", ENOMEM);
	pthread_barrier_wait(&start);
	for (long i = 0; i < reads; i++) {
		double before = now();

		job->bytes = read_once(buffer);
		job->seconds[i] = now() - before;
	}
	free(buffer);
	return NULL;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static long number(const char *text, long highest)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || value < 1 || value > highest) {
		fprintf(stderr, "reader: not a number from 1 to %ld: %s\n", highest, text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct job jobs[MAX_THREADS] = {0};
	double *samples, began, elapsed;
	long threads, total;
	int error;

	if (argc != 4) {
		fprintf(stderr, "usage: reader FILE READS THREADS\n");
		return 2;
	}
	path = argv[1];
	reads = number(argv[2], MAX_READS);
	threads = number(argv[3], MAX_THREADS);
	total = reads * threads;
	samples = calloc((size_t)total, sizeof(*samples));
	if (!samples)
		die("samples of", ENOMEM);

	pthread_barrier_init(&start, NULL, (unsigned int)threads + 1);
	for (long i = 0; i < threads; i++) {
		jobs[i].seconds = samples + i * reads;
		error = pthread_create(&jobs[i].thread, NULL, work, &jobs[i]);
		if (error)
			die("thread for", error);
	}
	began = now(); /* before the barrier: once it opens, the readers may run before this thread does */
	pthread_barrier_wait(&start);
	for (long i = 0; i < threads; i++)
		pthread_join(jobs[i].thread, NULL);
	elapsed = now() - began;

	qsort(samples, (size_t)total, sizeof(*samples), compare);
	printf("{\"bytes\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, \"reads_per_second\": %.0f}\n", jobs[0].bytes,
	       samples[total / 2] * 1e6, samples[total * 99 / 100] * 1e6, (double)total / elapsed);
	free(samples);
	return 0;
}
