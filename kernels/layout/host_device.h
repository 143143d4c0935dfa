// SPDX-License-Identifier: Apache-2.0
//
// Begins the layout functions that kernels on a GPU share with the host.
#ifndef ESPALIER_LAYOUT_HOST_DEVICE_H
#define ESPALIER_LAYOUT_HOST_DEVICE_H

#if defined(__CUDACC__)
#define ESP_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define ESP_HOST_DEVICE inline
#endif

#endif  // ESPALIER_LAYOUT_HOST_DEVICE_H
