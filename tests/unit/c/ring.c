/* The bounded ring of bytes, against a model that moves bytes about in a flat array. */
#include "ring.h"

#include <stdlib.h>

#include "check.h"

static void it_does_what_a_flat_buffer_does(void)
{
	enum { SIZE = 37 };
	struct ring ring;
	uint8_t model[SIZE], next = 0;
	size_t model_len = 0;
	unsigned seed = 3;
	CHECK_EQ(ring__open(&ring, SIZE), 0);
	for (unsigned i = 0; i < 100000; i++) {
		size_t len = (size_t)rand_r(&seed) % (SIZE + 10);
		if (rand_r(&seed) & 1) {
			uint8_t bytes[SIZE + 10];
			for (size_t j = 0; j < len; j++)
				bytes[j] = next++;
			size_t took = len < SIZE - model_len ? len : SIZE - model_len;
			memcpy(model + model_len, bytes, took);
			model_len += took;
			CHECK_EQ(ring__put(&ring, bytes, len), took);
		} else {
			size_t gone = len < model_len ? len : model_len;
			memmove(model, model + gone, model_len - gone);
			model_len -= gone;
			ring__drop(&ring, len);
		}
		CHECK_EQ(ring.len, model_len);
		struct iovec iov[2];
		unsigned count = ring__peek(&ring, iov);
		size_t seen = 0;
		for (unsigned j = 0; j < count; j++) {
			CHECK(memcmp(model + seen, iov[j].iov_base, iov[j].iov_len) == 0);
			seen += iov[j].iov_len;
		}
		CHECK_EQ(seen, model_len);
	}
	ring__close(&ring);
	ring__close(&ring);
	CHECK(ring.data == NULL);
}

int main(void)
{
	CASE(it_does_what_a_flat_buffer_does);
	return check__done();
}
