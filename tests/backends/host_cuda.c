/* A CUDA driver whose GPU is the host's own memory: as much of libcuda.so.1 as edgebind's calls through pycuda and
   cuda-bindings come to. It proves that those calls exist, in that order and with those arguments; it proves no timing.

   A stream that is being captured notes its copies and kernels instead of doing them; launching a graph does them. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;
typedef struct { int kind; void *target; const void *source; size_t size; } Work;
typedef struct { Work work[64]; int count; } Graph;
typedef struct { Graph *capturing; } Stream;

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_SUPPORTED = 801 };

int live_memory, live_pinned, live_streams, live_events, live_graphs, retained, depth;
static void *stack[64];
static int primary;

static CUresult put(Stream *stream, Work work) {
    if (!depth) return INVALID_VALUE + 200; /* CUDA_ERROR_INVALID_CONTEXT */
    if (stream && stream->capturing) {
        stream->capturing->work[stream->capturing->count++] = work;
    } else if (work.kind == 0) {
        memcpy(work.target, work.source, work.size);
    } else if (work.kind == 1) {
        for (size_t at = 0; at < work.size; at++) ((float *)work.target)[at] = 2 * ((const float *)work.source)[at];
    } else {
        for (size_t at = 0; at < work.size; at++) ((float *)work.target)[at] = 2 * ((const unsigned char *)work.source)[at];
    }
    return 0;
}

/* What the engine of the tests runs: target = 2 * source, of `count` floats. */
CUresult host_kernel(Stream *stream, CUdeviceptr target, CUdeviceptr source, size_t count) {
    return put(stream, (Work){1, (void *)target, (void *)source, count});
}

/* The same of 8-bit pixels. */
CUresult host_kernel_of_pixels(Stream *stream, CUdeviceptr target, CUdeviceptr source, size_t count) {
    return put(stream, (Work){2, (void *)target, (void *)source, count});
}

CUresult cuInit(unsigned flags) { return flags; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return 0; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return 0; }
CUresult cuDeviceGet(int *device, int index) { *device = index; return index ? 101 : 0; }
CUresult cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Host %d", device); return 0; }
CUresult cuDeviceTotalMem_v2(size_t *size, int device) { *size = 1 << 30; return device; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 1;
    return device;
}

CUresult cuDevicePrimaryCtxRetain(void **context, int device) { *context = &primary; retained++; return device; }
CUresult cuDevicePrimaryCtxRelease_v2(int device) { retained--; return device; }
CUresult cuCtxPushCurrent_v2(void *context) { stack[depth++] = context; return 0; }
CUresult cuCtxPopCurrent_v2(void **context) { *context = stack[--depth]; return 0; }
CUresult cuCtxGetCurrent(void **context) { *context = depth ? stack[depth - 1] : NULL; return 0; }
CUresult cuCtxSetCurrent(void *context) { if (depth) stack[depth - 1] = context; return 0; }
CUresult cuCtxGetDevice(int *device) { *device = 0; return depth ? 0 : 201; }
CUresult cuCtxSynchronize(void) { return 0; }
CUresult cuCtxGetApiVersion(void *context, unsigned *version) { *version = context ? 3020 : 0; return 0; }

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) { *available = 1 << 29; *total = 1 << 30; return 0; }
CUresult cuMemAlloc_v2(CUdeviceptr *memory, size_t size) {
    if (size > (1ull << 32)) return OUT_OF_MEMORY;
    *memory = (CUdeviceptr)aligned_alloc(256, (size + 255) / 256 * 256);
    live_memory++;
    return 0;
}
CUresult cuMemFree_v2(CUdeviceptr memory) { free((void *)memory); live_memory--; return 0; }
CUresult cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
    *memory = calloc(1, size);
    live_pinned++;
    return flags;
}
CUresult cuMemAllocHost_v2(void **memory, size_t size) { return cuMemHostAlloc(memory, size, 0); }
CUresult cuMemFreeHost(void *memory) { free(memory); live_pinned--; return 0; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t size, Stream *stream) {
    return put(stream, (Work){0, (void *)target, source, size});
}
CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t size, Stream *stream) {
    return put(stream, (Work){0, target, (void *)source, size});
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t size, Stream *stream) {
    return put(stream, (Work){0, (void *)target, (void *)source, size});
}

CUresult cuStreamCreate(Stream **stream, unsigned flags) {
    *stream = calloc(1, sizeof(Stream));
    live_streams++;
    return flags > 1;
}
CUresult cuStreamDestroy_v2(Stream *stream) { free(stream); live_streams--; return 0; }
CUresult cuStreamSynchronize(Stream *stream) { return stream->capturing ? 900 : 0; }
CUresult cuStreamWaitEvent(Stream *stream, void *event, unsigned flags) { return stream && event ? flags : 400; }
CUresult cuEventCreate(void **event, unsigned flags) { *event = malloc(1); live_events++; return flags & ~2u; }
CUresult cuEventDestroy_v2(void *event) { free(event); live_events--; return 0; }
CUresult cuEventRecord(void *event, Stream *stream) { return event && stream ? 0 : 400; }
CUresult cuEventSynchronize(void *event) { return event ? 0 : 400; }
CUresult cuEventElapsedTime(float *ms, void *start, void *end) { *ms = 0.5f; return start && end ? 0 : 400; }
CUresult cuEventElapsedTime_v2(float *ms, void *start, void *end) { return cuEventElapsedTime(ms, start, end); }

CUresult cuStreamBeginCapture_v2(Stream *stream, int mode) {
    stream->capturing = calloc(1, sizeof(Graph));
    live_graphs++;
    return mode == 1 ? 0 : INVALID_VALUE; /* thread local */
}
CUresult cuStreamEndCapture(Stream *stream, Graph **graph) {
    *graph = stream->capturing;
    stream->capturing = NULL;
    return *graph ? 0 : 901;
}
CUresult cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
    *executable = malloc(sizeof(Graph));
    **executable = *graph;
    live_graphs++;
    return (CUresult)flags;
}
CUresult cuGraphLaunch(Graph *graph, Stream *stream) {
    CUresult code = 0;
    for (int at = 0; at < graph->count && !code; at++) code = put(stream, graph->work[at]);
    return code;
}
CUresult cuGraphExecDestroy(Graph *graph) { free(graph); live_graphs--; return 0; }
CUresult cuGraphDestroy(Graph *graph) { free(graph); live_graphs--; return 0; }

CUresult cuGetErrorName(CUresult code, const char **name) { *name = code ? "CUDA_ERROR" : "CUDA_SUCCESS"; return 0; }
CUresult cuGetErrorString(CUresult code, const char **text) { *text = code ? "an error" : "no error"; return 0; }

/* cuda-bindings asks for every function by name. */
CUresult cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags, int *status) {
    char longer[128];
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *function = NULL;
    const char *endings[] = {"_v2", "WithFlags", "", NULL};
    for (int at = 0; endings[at] && !*function; at++) {
        snprintf(longer, sizeof longer, "%s%s", name, endings[at]);
        *function = dlsym(library, longer);
    }
    if (status) *status = *function ? 0 : 1;
    (void)version, (void)flags;
    return *function ? 0 : NOT_FOUND;
}
CUresult cuGetProcAddress(const char *name, void **function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
