/* Devices of a KVM machine: virtio-mmio windows in the hole below 4 GiB, kicks and interrupts as eventfds in the
 * kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "board/x86_64/layout.h"
#include "engine/kvm/kvm.h"

static uint64_t device_addr(unsigned index)
{
	return LAYOUT_VIRTIO + (uint64_t)index * VIRTIO_MMIO_SIZE;
}

struct boot_device kvm_devices__place(unsigned index)
{
	return (struct boot_device){.addr = device_addr(index), .irq = (uint8_t)kvm_arch__device_irq(index)};
}

void kvm_devices__access(struct kvm_machine *vm, uint64_t addr, uint8_t *data, unsigned len, bool is_write)
{
	if (addr >= LAYOUT_IOAPIC && addr - LAYOUT_IOAPIC < KVM_IOAPIC_SIZE) {
		kvm_ioapic__access(vm->ioapic, addr - LAYOUT_IOAPIC, data, len, is_write);
		return;
	}
	uint64_t index = (addr - LAYOUT_VIRTIO) / VIRTIO_MMIO_SIZE;
	uint64_t offset = (addr - LAYOUT_VIRTIO) % VIRTIO_MMIO_SIZE;
	if (addr < LAYOUT_VIRTIO || index >= vm->machine->device_count) {
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
	struct kvm_irqfd irq = {.fd = (uint32_t)virtio_mmio__irq_fd(mmio), .gsi = kvm_arch__device_irq(index)};
	if (ioctl(vm->fd, KVM_IRQFD, &irq) < 0)
		return -errno;
	for (unsigned q = 0; q < vm->machine->devices[index].dev->ops->num_queues; q++) {
		struct kvm_ioeventfd kick = {.datamatch = q,
					     .addr = device_addr(index) + VIRTIO_MMIO_QUEUE_NOTIFY,
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
	struct kvm_irqfd irq = {.fd = (uint32_t)kvm_serial__irq_fd(vm->serial), .gsi = SERIAL_IRQ};
	return ioctl(vm->fd, KVM_IRQFD, &irq) < 0
		       ? failure__set(why, errno, NULL, "cannot attach the serial port to KVM")
		       : 0;
}

int kvm_devices__announce(const struct kvm_machine *vm, char *cmdline, size_t size, struct failure *why)
{
	size_t used = strlen(cmdline);
	if (vm->machine->config->acpi) /* its tables tell where they are */
		return 0;
	for (unsigned i = 0; i < vm->machine->device_count; i++) {
		used += (size_t)snprintf(cmdline + used, size - used, " virtio_mmio.device=4K@0x%llx:%u",
					 (unsigned long long)device_addr(i), kvm_arch__device_irq(i));
		if (used >= size)
			return failure__set(why, E2BIG, NULL,
					    "the kernel command line is too long beside the words for %u devices",
					    vm->machine->device_count);
	}
	return 0;
}

int kvm_devices__attach(struct kvm_machine *vm, struct failure *why)
{
	int failed = vm->serial ? attach_serial(vm, why) : 0;
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
