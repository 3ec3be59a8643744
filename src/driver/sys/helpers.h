/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the safe layer needs of the kernel's inline functions and macros, as plain functions.
 * Everything that is a real symbol is called from Rust directly.
 */
#ifndef RESTRIPE_HELPERS_H
#define RESTRIPE_HELPERS_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/spinlock.h>

/* A plug of our own around a batch of members' I/O, hiding the one of the submitter. */
struct restripe_plug {
	struct blk_plug plug;
	struct blk_plug *outer;
};

/* What a member says of itself; sizes in bytes where not said otherwise. */
struct restripe_bdev_info {
	u64 sectors;
	u32 devt;
	u32 logical_block_size;
	u32 physical_block_size;
	u32 max_discard_sectors;
	u32 max_write_zeroes_sectors;
	bool zoned;
	bool read_only;
	bool write_cache;
	bool fua;
	bool rotational;
};

unsigned long restripe_spin_lock_irqsave(spinlock_t *lock);
bool restripe_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags);
void restripe_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);

void *restripe_kvzalloc(size_t bytes);
unsigned int restripe_buf_vecs(const void *addr, unsigned int bytes);
void restripe_bio_add_buf(struct bio *bio, void *addr, unsigned int bytes);
void restripe_bio_copy(struct bio *bio, unsigned int skip, void *buf, unsigned int bytes,
		       bool from_bio);
void restripe_bio_zero(struct bio *bio, unsigned int skip, unsigned int bytes);

void restripe_plug_begin(struct restripe_plug *plug);
void restripe_plug_end(struct restripe_plug *plug);
struct blk_plug *restripe_plug_hide(void);
void restripe_plug_show(struct blk_plug *outer);
bool restripe_in_submit_bio(void);

struct restripe_bdev_info restripe_bdev_info(struct block_device *bdev);
void restripe_bdev_name(struct block_device *bdev, char *name, size_t bytes);
int restripe_bdev_unique_id(struct block_device *bdev, u8 id[16]);
int restripe_link_holder(struct block_device *bdev, struct gendisk *disk);
void restripe_unlink_holder(struct block_device *bdev, struct gendisk *disk);
struct queue_limits *restripe_limits_lock(struct gendisk *disk);
int restripe_limits_commit(struct gendisk *disk, struct queue_limits *lim);

bool restripe_capable_sys_admin(void);
unsigned int restripe_num_online_cpus(void);
unsigned int restripe_this_cpu(void);
void *restripe_bdev_kobj(struct gendisk *disk);

#endif
