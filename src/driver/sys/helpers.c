// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel that Rust can't reach, one function each.
 * No logic lives here.
 */
#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "helpers.h"

unsigned long restripe_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

bool restripe_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags)
{
	return spin_trylock_irqsave(lock, *flags);
}

void restripe_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

/* Waits for memory, but not for I/O. */
void *restripe_kvzalloc(size_t bytes)
{
	return kvzalloc(bytes, GFP_NOIO | __GFP_NOWARN);
}

unsigned int restripe_buf_vecs(const void *addr, unsigned int bytes)
{
	if (!is_vmalloc_addr(addr))
		return 1;
	return DIV_ROUND_UP(offset_in_page(addr) + bytes, PAGE_SIZE);
}

/* The bio has room for restripe_buf_vecs() vectors. */
void restripe_bio_add_buf(struct bio *bio, void *addr, unsigned int bytes)
{
	if (!is_vmalloc_addr(addr)) {
		__bio_add_page(bio, virt_to_page(addr), bytes, offset_in_page(addr));
		return;
	}
	while (bytes) {
		unsigned int len = min_t(unsigned int, bytes, PAGE_SIZE - offset_in_page(addr));

		__bio_add_page(bio, vmalloc_to_page(addr), len, offset_in_page(addr));
		addr += len;
		bytes -= len;
	}
}

/* The bio is left as it is; the caller sees to it that it holds skip + bytes. */
void restripe_bio_copy(struct bio *bio, unsigned int skip, void *buf, unsigned int bytes,
		       bool from_bio)
{
	struct bvec_iter iter = bio->bi_iter;

	bio_advance_iter(bio, &iter, skip);
	while (bytes && iter.bi_size) {
		struct bio_vec bv = bio_iter_iovec(bio, iter);

		bv.bv_len = min(bv.bv_len, bytes);
		if (from_bio)
			memcpy_from_bvec(buf, &bv);
		else
			memcpy_to_bvec(&bv, buf);
		buf += bv.bv_len;
		bytes -= bv.bv_len;
		bio_advance_iter_single(bio, &iter, bv.bv_len);
	}
}

void restripe_bio_zero(struct bio *bio, unsigned int skip, unsigned int bytes)
{
	struct bvec_iter iter = bio->bi_iter;

	bio_advance_iter(bio, &iter, skip);
	while (bytes && iter.bi_size) {
		struct bio_vec bv = bio_iter_iovec(bio, iter);

		bv.bv_len = min(bv.bv_len, bytes);
		memzero_bvec(&bv);
		bytes -= bv.bv_len;
		bio_advance_iter_single(bio, &iter, bv.bv_len);
	}
}

struct blk_plug *restripe_plug_hide(void)
{
	struct blk_plug *outer = current->plug;

	/* A task that is marked as having a time cached is taken to have a plug to forget it from, whenever it loses the CPU. */
	blk_plug_invalidate_ts();
	current->plug = NULL;
	return outer;
}

void restripe_plug_begin(struct restripe_plug *plug)
{
	plug->outer = restripe_plug_hide();
	blk_start_plug(&plug->plug);
}

void restripe_plug_end(struct restripe_plug *plug)
{
	blk_finish_plug(&plug->plug);
	current->plug = plug->outer;
}

void restripe_plug_show(struct blk_plug *outer)
{
	current->plug = outer;
}

bool restripe_in_submit_bio(void)
{
	return current->bio_list;
}

struct restripe_bdev_info restripe_bdev_info(struct block_device *bdev)
{
	return (struct restripe_bdev_info) {
		.sectors = bdev_nr_sectors(bdev),
		.devt = bdev->bd_dev,
		.logical_block_size = bdev_logical_block_size(bdev),
		.physical_block_size = bdev_physical_block_size(bdev),
		.max_discard_sectors = bdev_max_discard_sectors(bdev),
		.max_write_zeroes_sectors = bdev_write_zeroes_sectors(bdev),
		.zoned = bdev_is_zoned(bdev),
		.read_only = bdev_read_only(bdev),
		.write_cache = bdev_write_cache(bdev),
		.fua = bdev_fua(bdev),
		.rotational = bdev_rot(bdev),
	};
}

void restripe_bdev_name(struct block_device *bdev, char *name, size_t bytes)
{
	snprintf(name, bytes, "%pg", bdev);
}

/* Returns the number of bytes of the identifier, or an errno. */
int restripe_bdev_unique_id(struct block_device *bdev, u8 id[16])
{
	struct gendisk *disk = bdev->bd_disk;
	static const enum blk_unique_id kinds[] = { BLK_UID_NAA, BLK_UID_EUI64, BLK_UID_T10 };
	int i;

	if (!disk->fops->get_unique_id)
		return -EOPNOTSUPP;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		int len = disk->fops->get_unique_id(disk, id, kinds[i]);

		if (len > 0)
			return len;
	}
	return -ENODATA;
}

int restripe_link_holder(struct block_device *bdev, struct gendisk *disk)
{
	return bd_link_disk_holder(bdev, disk);
}

void restripe_unlink_holder(struct block_device *bdev, struct gendisk *disk)
{
	bd_unlink_disk_holder(bdev, disk);
}

/* Takes the lock that restripe_limits_commit() drops, whatever that returns. */
struct queue_limits *restripe_limits_lock(struct gendisk *disk)
{
	queue_limits_start_update(disk->queue);
	return &disk->queue->limits;
}

int restripe_limits_commit(struct gendisk *disk, struct queue_limits *lim)
{
	return queue_limits_commit_update_frozen(disk->queue, lim);
}

bool restripe_capable_sys_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

unsigned int restripe_num_online_cpus(void)
{
	return num_online_cpus();
}

unsigned int restripe_this_cpu(void)
{
	return raw_smp_processor_id();
}

void *restripe_bdev_kobj(struct gendisk *disk)
{
	return &disk_to_dev(disk)->kobj;
}
