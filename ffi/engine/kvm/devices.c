/* Devices of a KVM machine: virtio-mmio windows, kicks and interrupts as eventfds in the
 * kernel.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engine/kvm/kvm.h"

void kvm_devices__access(struct kvm_machine *vm, uint64_t addr, uint8_t *data, unsigned len, bool is_write)
{
	if (board__access(vm->board, addr, data, len, is_write))
		return;
	const uint64_t first = board__place(0).addr;
	const uint64_t index = (addr - first) / VIRTIO_MMIO_SIZE, offset = (addr - first) % VIRTIO_MMIO_SIZE;
	if (addr < first || index >= vm->machine->device_count) {
		atomic_fetch_add_explicit(&vm->ignored, 1, memory_order_relaxed);
		if (!is_write)
			memset(data, 0xff, len);
	} else if (is_write) {
		virtio_mmio__write(vm->mmio[index], offset, data, len);
	} else {
		virtio_mmio__read(vm->mmio[index], offset, data, len);
	}
}

/* Kicks go from the guest to the worker, and interrupts from the worker to the guest, without waking a vCPU's thread.
 */
static int device__connect(struct kvm_machine *vm, unsigned index)
{
	struct virtio_mmio *mmio = vm->mmio[index];
	const struct board_device place = board__place(index);
	struct kvm_irqfd irq = {.fd = (uint32_t)virtio_mmio__irq_fd(mmio), .gsi = place.irq};
	if (ioctl(vm->fd, KVM_IRQFD, &irq) < 0)
		return -errno;
	for (unsigned q = 0; q < vm->machine->devices[index].dev->ops->num_queues; q++) {
		struct kvm_ioeventfd kick = {.datamatch = q,
					     .addr = place.addr + VIRTIO_MMIO_QUEUE_NOTIFY,
					     .len = 4,
					     .fd = virtio_mmio__kick_fd(mmio, q),
					     .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};
		if (ioctl(vm->fd, KVM_IOEVENTFD, &kick) < 0)
			return -errno;
	}
	return 0;
}

static int attach_serial(struct kvm_machine *vm, struct failure *why)
{
	struct kvm_irqfd irq = {.flags = 0};
	int fd = board__serial_irq(vm->board, &irq.gsi);
	irq.fd = (uint32_t)fd;
	return fd >= 0 && ioctl(vm->fd, KVM_IRQFD, &irq) < 0
		       ? failure__set(why, errno, NULL, "cannot attach the serial port to KVM")
		       : 0;
}

int kvm_devices__attach(struct kvm_machine *vm, struct failure *why)
{
	int failed = attach_serial(vm, why);
	if (failed)
		return failed;
	for (unsigned i = 0; i < vm->machine->device_count; i++) {
		const struct machine_device *device = &vm->machine->devices[i];
		int error = virtio_mmio__new(device->dev, device->loop, &vm->mem, &vm->mmio[i]);
		if (!error)
			error = device__connect(vm, i);
		if (error)
			return failure__set(why, -error, NULL, "cannot attach the %s device to KVM",
					    device->dev->ops->name);
	}
	return 0;
}

void kvm_devices__detach(struct kvm_machine *vm)
{
	for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
		virtio_mmio__free(vm->mmio[i]);
		vm->mmio[i] = NULL;
	}
}

_Static_assert(MACHINE_MAX_DEVICES <= BOARD_MAX_DEVICES, "each device has a place");
