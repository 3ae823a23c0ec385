// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an IOAS maps
 *
 * Who takes a process through a live update gets its iommufd, its memfds and its
 * devices from it, and has to map the same memory again in the next kernel. Where
 * it is mapped only the IOAS knows: a VMM does not pass that on. So let the IOAS
 * be asked. A file is named by what fstat() says of it, as a file that was passed
 * through a socket has another number than the one it was mapped by, which may be
 * closed anyway.
 *
 * Nothing here has to do with a session of LUO: any IOAS can be asked at any time,
 * also while it must not be changed.
 */

#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/* What one call returns at most. A VM without a vIOMMU has a handful. */
#define IOMMUFD_AREAS_MAX	4096

/* Entries of the first version, the smallest that there are. */
#define IOMMUFD_AREA_MIN	offsetofend(struct iommu_ioas_area, dev_minor)

/*
 * Only files of shmem and hugetlbfs can be mapped for a device, and dma-bufs have a file
 * system of their own. What fstat() shows of all these is what the inode has.
 */
static void iommufd_area_file(struct iommu_ioas_area *out, struct file *file)
{
	struct inode *inode = file_inode(file);

	out->ino = inode->i_ino;
	out->dev_major = MAJOR(inode->i_sb->s_dev);
	out->dev_minor = MINOR(inode->i_sb->s_dev);
}

static void iommufd_area(struct iommu_ioas_area *out, struct iopt_area *area)
{
	unsigned long iova = iopt_area_iova(area);
	struct iopt_pages *pages = area->pages;

	out->iova = iova;
	out->length = iopt_area_length(area);
	if (area->iommu_prot & IOMMU_READ)
		out->flags |= IOMMU_IOAS_MAP_READABLE;
	if (area->iommu_prot & IOMMU_WRITE)
		out->flags |= IOMMU_IOAS_MAP_WRITEABLE;

	/* The area may be a part of the pages, after a copy or a split. */
	out->start = iopt_area_start_byte(area, iova);
	switch (pages->type) {
	case IOPT_ADDRESS_USER:
		out->type = IOMMU_IOAS_AREA_USER;
		out->start += (uintptr_t)pages->uptr;
		break;
	case IOPT_ADDRESS_FILE:
		out->type = IOMMU_IOAS_AREA_FILE;
		out->start += pages->start;
		iommufd_area_file(out, pages->file);
		break;
	case IOPT_ADDRESS_DMABUF:
		out->type = IOMMU_IOAS_AREA_DMABUF;
		out->start += pages->dmabuf.start;
		iommufd_area_file(out, pages->dmabuf.attach->dmabuf->file);
		break;
	}
}

/*
 * Put the areas from @iova on into @out, as many as @max. Returns how many there are;
 * if that was not all of them, @iova is where the next one begins and @more is set.
 */
static u32 iommufd_collect_areas(struct io_pagetable *iopt, u64 *iova,
				 struct iommu_ioas_area *out, u32 max, bool *more)
{
	struct iopt_area *area;
	u32 nr = 0;

	guard(rwsem_read)(&iopt->iova_rwsem);

	for (area = iopt_area_iter_first(iopt, *iova, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, *iova, ULONG_MAX)) {
		/*
		 * The call that maps it has not succeeded yet, and may fail, or the
		 * one that unmaps it is past the point of no return.
		 */
		if (!area->pages)
			continue;
		if (nr == max) {
			*iova = iopt_area_iova(area);
			*more = true;
			break;
		}
		iommufd_area(&out[nr++], area);
	}
	return nr;
}

/**
 * iommufd_ioas_get_areas - What does an IOAS map?
 * @ucmd: A &struct iommu_ioas_get_areas.
 *
 * The areas are collected in memory of the kernel and copied when the lock has been
 * released. mmap_lock may be taken with iova_rwsem held, pinning pages does that. But
 * a page fault takes as long as user space likes (userfaultfd, FUSE), and meanwhile
 * whoever wants to map, unmap, attach or preserve would wait, the latter with locks
 * of LUO.
 *
 * Context: Takes iova_rwsem for read; may fault.
 * Return: 0, or an error as &struct iommu_ioas_get_areas has them.
 */
int iommufd_ioas_get_areas(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_area *areas __free(kvfree) = NULL;
	struct iommu_ioas_get_areas *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	bool more = false;
	u64 size, end;
	u32 max;
	int rc;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->entry_len < IOMMUFD_AREA_MIN || cmd->entry_len > PAGE_SIZE)
		return -EINVAL;
	size = (u64)cmd->entry_len * cmd->num_areas;
	if (cmd->iova > ULONG_MAX || check_add_overflow(cmd->areas, size, &end))
		return -EOVERFLOW;

	max = min(cmd->num_areas, IOMMUFD_AREAS_MAX);
	areas = kvzalloc_objs(*areas, max, GFP_KERNEL_ACCOUNT);
	if (!areas)
		return -ENOMEM;

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	cmd->num_areas = iommufd_collect_areas(&ioas->iopt, &cmd->iova, areas, max,
					       &more);
	iommufd_put_object(ucmd->ictx, &ioas->obj);

	for (u32 i = 0; i < cmd->num_areas; i++) {
		u64 entry = cmd->areas + (u64)i * cmd->entry_len;

		rc = copy_struct_to_user(u64_to_user_ptr(entry), cmd->entry_len,
					 &areas[i], sizeof(areas[i]), NULL);
		if (rc)
			return rc;
	}
	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
	if (rc)
		return rc;
	return more ? -EMSGSIZE : 0;
}
