// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file for the tests of live update
 *
 * /dev/liveupdate-test can be preserved and does what its user told it to:
 *
 *	write "freeze=-5"	freeze() returns -5 (-EIO), so that reboot() fails
 *				after the files before it have been frozen
 *	write "freeze=0"	freeze() succeeds again
 *	read			how often it was frozen and unfrozen, and whether it
 *				came from the previous kernel
 *
 * It is there to show what other files make of a live update that fails half
 * way. Not for production kernels.
 */

#define pr_fmt(fmt) "luo_test_file: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct luo_test_file {
	int freeze_err;
	unsigned int frozen;
	unsigned int unfrozen;
	bool incoming;
};

static const struct file_operations luo_test_fops;

static int luo_test_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc_obj(struct luo_test_file);
	return file->private_data ? 0 : -ENOMEM;
}

static int luo_test_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t luo_test_read(struct file *file, char __user *buf, size_t count,
			     loff_t *ppos)
{
	struct luo_test_file *test = file->private_data;
	char text[64];
	int len;

	len = scnprintf(text, sizeof(text), "frozen=%u unfrozen=%u incoming=%d\n",
			test->frozen, test->unfrozen, test->incoming);
	return simple_read_from_buffer(buf, count, ppos, text, len);
}

static ssize_t luo_test_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *ppos)
{
	struct luo_test_file *test = file->private_data;
	char text[32] = {};
	int err;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	if (sscanf(text, "freeze=%d", &err) != 1 || err > 0 || err < -MAX_ERRNO)
		return -EINVAL;

	test->freeze_err = err;
	return count;
}

static const struct file_operations luo_test_fops = {
	.owner = THIS_MODULE,
	.open = luo_test_open,
	.release = luo_test_release,
	.read = luo_test_read,
	.write = luo_test_write,
};

static bool luo_test_can_preserve(struct liveupdate_file_handler *fh,
				  struct file *file)
{
	return file->f_op == &luo_test_fops;
}

static int luo_test_preserve(struct liveupdate_file_op_args *args)
{
	u64 *data = kho_alloc_preserve(sizeof(*data));

	if (IS_ERR(data))
		return PTR_ERR(data);
	args->serialized_data = virt_to_phys(data);
	return 0;
}

static void luo_test_unpreserve(struct liveupdate_file_op_args *args)
{
	kho_unpreserve_free(phys_to_virt(args->serialized_data));
}

static int luo_test_freeze(struct liveupdate_file_op_args *args)
{
	struct luo_test_file *test = args->file->private_data;

	if (test->freeze_err)
		return test->freeze_err;
	test->frozen++;
	return 0;
}

static void luo_test_unfreeze(struct liveupdate_file_op_args *args)
{
	struct luo_test_file *test = args->file->private_data;

	test->unfrozen++;
}

static int luo_test_retrieve(struct liveupdate_file_op_args *args)
{
	struct luo_test_file *test;
	struct file *file;

	test = kzalloc_obj(*test);
	if (!test)
		return -ENOMEM;
	test->incoming = true;

	file = anon_inode_getfile("[liveupdate-test]", &luo_test_fops, test,
				  O_RDWR);
	if (IS_ERR(file)) {
		kfree(test);
		return PTR_ERR(file);
	}

	args->file = file;
	return 0;
}

static void luo_test_finish(struct liveupdate_file_op_args *args)
{
	kho_restore_free(phys_to_virt(args->serialized_data));
}

static const struct liveupdate_file_ops luo_test_file_ops = {
	.can_preserve = luo_test_can_preserve,
	.preserve = luo_test_preserve,
	.unpreserve = luo_test_unpreserve,
	.freeze = luo_test_freeze,
	.unfreeze = luo_test_unfreeze,
	.retrieve = luo_test_retrieve,
	.finish = luo_test_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler luo_test_handler = {
	.ops = &luo_test_file_ops,
	.compatible = "liveupdate-test-v1",
};

static struct miscdevice luo_test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "liveupdate-test",
	.fops = &luo_test_fops,
	.mode = 0600,
};

static int __init luo_test_file_init(void)
{
	int err;

	err = misc_register(&luo_test_misc);
	if (err)
		return err;

	err = liveupdate_register_file_handler(&luo_test_handler);
	if (err && err != -EOPNOTSUPP) {
		misc_deregister(&luo_test_misc);
		return err;
	}

	return 0;
}
late_initcall(luo_test_file_init);
