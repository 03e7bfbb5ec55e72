/// Calls `$callback!` with the signature of every Filter Manager function that this project uses or serves.
///
/// The `kernel` crate expands it to the import declarations, the lab to a check that what it binds under a name
/// has exactly that name's signature. The callback needs `use fltkernel::*;` in scope.
#[macro_export]
macro_rules! for_each_function {
    ($callback:ident) => {
        $callback! {
            fn FltRegisterFilter(Driver: PDRIVER_OBJECT, Registration: *const FLT_REGISTRATION, RetFilter: *mut PFLT_FILTER) -> NTSTATUS;
            fn FltUnregisterFilter(Filter: PFLT_FILTER);
            fn FltStartFiltering(Filter: PFLT_FILTER) -> NTSTATUS;
            fn FltGetRoutineAddress(FltMgrRoutineName: *const i8) -> PVOID;

            fn FltObjectReference(FltObject: PVOID) -> NTSTATUS;
            fn FltObjectDereference(FltObject: PVOID);

            fn FltAllocateContext(Filter: PFLT_FILTER, ContextType: u16, ContextSize: usize, PoolType: i32, ReturnedContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltReferenceContext(Context: PFLT_CONTEXT);
            fn FltReleaseContext(Context: PFLT_CONTEXT);
            fn FltDeleteContext(Context: PFLT_CONTEXT);
            fn FltSetInstanceContext(Instance: PFLT_INSTANCE, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltGetInstanceContext(Instance: PFLT_INSTANCE, Context: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltDeleteInstanceContext(Instance: PFLT_INSTANCE, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltSetFileContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltGetFileContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Context: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltDeleteFileContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltSetStreamContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltGetStreamContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Context: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltDeleteStreamContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltSetStreamHandleContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltGetStreamHandleContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Context: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltDeleteStreamHandleContext(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltSetTransactionContext(Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltGetTransactionContext(Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, Context: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltDeleteTransactionContext(Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS;
            fn FltEnlistInTransaction(Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, TransactionContext: PFLT_CONTEXT, NotificationMask: u32) -> NTSTATUS;
            fn FltRollbackEnlistment(Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, TransactionContext: PFLT_CONTEXT) -> NTSTATUS;
            fn FltSupportsStreamHandleContexts(FileObject: PFILE_OBJECT) -> BOOLEAN;
            fn FltSupportsStreamContexts(FileObject: PFILE_OBJECT) -> BOOLEAN;
            fn FltSupportsFileContexts(FileObject: PFILE_OBJECT) -> BOOLEAN;

            fn FltSetCallbackDataDirty(Data: *mut FLT_CALLBACK_DATA);
            fn FltClearCallbackDataDirty(Data: *mut FLT_CALLBACK_DATA);
            fn FltIsCallbackDataDirty(Data: *mut FLT_CALLBACK_DATA) -> BOOLEAN;
            fn FltGetRequestorProcess(CallbackData: *mut FLT_CALLBACK_DATA) -> PEPROCESS;
            fn FltGetRequestorProcessId(CallbackData: *mut FLT_CALLBACK_DATA) -> u32;
            fn FltIsOperationSynchronous(CallbackData: *mut FLT_CALLBACK_DATA) -> BOOLEAN;
            fn FltGetTopInstance(Volume: PFLT_VOLUME, Instance: *mut PFLT_INSTANCE) -> NTSTATUS;
            fn FltCompletePendedPreOperation(CallbackData: *mut FLT_CALLBACK_DATA, CallbackStatus: FLT_PREOP_CALLBACK_STATUS, Context: PVOID);
            fn FltCompletePendedPostOperation(CallbackData: *mut FLT_CALLBACK_DATA);
            fn FltDoCompletionProcessingWhenSafe(Data: *mut FLT_CALLBACK_DATA, FltObjects: *const FLT_RELATED_OBJECTS, CompletionContext: PVOID, Flags: u32, SafePostCallback: PFLT_POST_OPERATION_CALLBACK, RetPostOperationStatus: *mut FLT_POSTOP_CALLBACK_STATUS) -> BOOLEAN;

            fn FltGetEcpListFromCallbackData(Filter: PFLT_FILTER, CallbackData: *mut FLT_CALLBACK_DATA, EcpList: *mut PECP_LIST) -> NTSTATUS;
            fn FltSetEcpListIntoCallbackData(Filter: PFLT_FILTER, CallbackData: *mut FLT_CALLBACK_DATA, EcpList: PECP_LIST) -> NTSTATUS;
            fn FltAllocateExtraCreateParameterList(Filter: PFLT_FILTER, Flags: u32, EcpList: *mut PECP_LIST) -> NTSTATUS;
            fn FltFreeExtraCreateParameterList(Filter: PFLT_FILTER, EcpList: PECP_LIST);
            fn FltAllocateExtraCreateParameter(Filter: PFLT_FILTER, EcpType: LPCGUID, SizeOfContext: u32, Flags: u32, CleanupCallback: PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK, PoolTag: u32, EcpContext: *mut PVOID) -> NTSTATUS;
            fn FltFreeExtraCreateParameter(Filter: PFLT_FILTER, EcpContext: PVOID);
            fn FltInsertExtraCreateParameter(Filter: PFLT_FILTER, EcpList: PECP_LIST, EcpContext: PVOID) -> NTSTATUS;
            fn FltRemoveExtraCreateParameter(Filter: PFLT_FILTER, EcpList: PECP_LIST, EcpType: LPCGUID, EcpContext: *mut PVOID, EcpContextSize: *mut u32) -> NTSTATUS;
            fn FltFindExtraCreateParameter(Filter: PFLT_FILTER, EcpList: PECP_LIST, EcpType: LPCGUID, EcpContext: *mut PVOID, EcpContextSize: *mut u32) -> NTSTATUS;
            fn FltGetNextExtraCreateParameter(Filter: PFLT_FILTER, EcpList: PECP_LIST, CurrentEcpContext: PVOID, NextEcpType: LPGUID, NextEcpContext: *mut PVOID, NextEcpContextSize: *mut u32) -> NTSTATUS;
            fn FltAcknowledgeEcp(Filter: PFLT_FILTER, EcpContext: PVOID);
            fn FltIsEcpAcknowledged(Filter: PFLT_FILTER, EcpContext: PVOID) -> BOOLEAN;
            fn FltIsEcpFromUserMode(Filter: PFLT_FILTER, EcpContext: PVOID) -> BOOLEAN;

            fn FltCreateFileEx2(Filter: PFLT_FILTER, Instance: PFLT_INSTANCE, FileHandle: *mut HANDLE, FileObject: *mut PFILE_OBJECT, DesiredAccess: u32, ObjectAttributes: POBJECT_ATTRIBUTES, IoStatusBlock: PIO_STATUS_BLOCK, AllocationSize: *mut i64, FileAttributes: u32, ShareAccess: u32, CreateDisposition: u32, CreateOptions: u32, EaBuffer: PVOID, EaLength: u32, Flags: u32, DriverContext: PIO_DRIVER_CREATE_CONTEXT) -> NTSTATUS;
            fn FltClose(FileHandle: HANDLE) -> NTSTATUS;
            fn FltCancelFileOpen(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT);
            fn FltReadFile(InitiatingInstance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, ByteOffset: *mut i64, Length: u32, Buffer: PVOID, Flags: u32, BytesRead: *mut u32, CallbackRoutine: PVOID, CallbackContext: PVOID) -> NTSTATUS;
            fn FltWriteFile(InitiatingInstance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, ByteOffset: *mut i64, Length: u32, Buffer: PVOID, Flags: u32, BytesWritten: *mut u32, CallbackRoutine: PVOID, CallbackContext: PVOID) -> NTSTATUS;
            fn FltQueryInformationFile(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, FileInformation: PVOID, Length: u32, FileInformationClass: u32, LengthReturned: *mut u32) -> NTSTATUS;
            fn FltSetInformationFile(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, FileInformation: PVOID, Length: u32, FileInformationClass: u32) -> NTSTATUS;
            fn FltQueryVolumeInformation(Instance: PFLT_INSTANCE, Iosb: PIO_STATUS_BLOCK, FsInformation: PVOID, Length: u32, FsInformationClass: u32) -> NTSTATUS;
            fn FltFlushBuffers(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT) -> NTSTATUS;
            fn FltFsControlFile(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, FsControlCode: u32, InputBuffer: PVOID, InputBufferLength: u32, OutputBuffer: PVOID, OutputBufferLength: u32, LengthReturned: *mut u32) -> NTSTATUS;

            fn FltAllocateCallbackData(Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, RetNewCallbackData: *mut *mut FLT_CALLBACK_DATA) -> NTSTATUS;
            fn FltFreeCallbackData(CallbackData: *mut FLT_CALLBACK_DATA);
            fn FltPerformSynchronousIo(CallbackData: *mut FLT_CALLBACK_DATA);

            fn FltGetFileNameInformation(CallbackData: *mut FLT_CALLBACK_DATA, NameOptions: u32, FileNameInformation: *mut *mut FLT_FILE_NAME_INFORMATION) -> NTSTATUS;
            fn FltGetFileNameInformationUnsafe(FileObject: PFILE_OBJECT, Instance: PFLT_INSTANCE, NameOptions: u32, FileNameInformation: *mut *mut FLT_FILE_NAME_INFORMATION) -> NTSTATUS;
            fn FltReleaseFileNameInformation(FileNameInformation: *mut FLT_FILE_NAME_INFORMATION);
            fn FltReferenceFileNameInformation(FileNameInformation: *mut FLT_FILE_NAME_INFORMATION);
            fn FltParseFileNameInformation(FileNameInformation: *mut FLT_FILE_NAME_INFORMATION) -> NTSTATUS;

            fn FltGetVolumeProperties(Volume: PFLT_VOLUME, VolumeProperties: *mut FLT_VOLUME_PROPERTIES, VolumePropertiesLength: u32, LengthReturned: *mut u32) -> NTSTATUS;
            fn FltGetVolumeName(Volume: PFLT_VOLUME, VolumeName: *mut UNICODE_STRING, BufferSizeNeeded: *mut u32) -> NTSTATUS;
            fn FltGetVolumeFromInstance(Instance: PFLT_INSTANCE, RetVolume: *mut PFLT_VOLUME) -> NTSTATUS;
            fn FltGetFilterFromInstance(Instance: PFLT_INSTANCE, RetFilter: *mut PFLT_FILTER) -> NTSTATUS;
            fn FltGetInstanceInformation(Instance: PFLT_INSTANCE, InformationClass: INSTANCE_INFORMATION_CLASS, Buffer: PVOID, BufferSize: u32, BytesReturned: *mut u32) -> NTSTATUS;
            fn FltGetVolumeInstanceFromName(Filter: PFLT_FILTER, Volume: PFLT_VOLUME, InstanceName: *const UNICODE_STRING, RetInstance: *mut PFLT_INSTANCE) -> NTSTATUS;
            fn FltAttachVolume(Filter: PFLT_FILTER, Volume: PFLT_VOLUME, InstanceName: *const UNICODE_STRING, RetInstance: *mut PFLT_INSTANCE) -> NTSTATUS;
            fn FltIsVolumeWritable(FltObject: PVOID, IsWritable: *mut BOOLEAN) -> NTSTATUS;
            fn FltIsVolumeSnapshot(FltObject: PVOID, IsSnapshotVolume: *mut BOOLEAN) -> NTSTATUS;
            fn FltGetDeviceObject(Volume: PFLT_VOLUME, DeviceObject: *mut PDEVICE_OBJECT) -> NTSTATUS;
            fn FltIsDirectory(FileObject: PFILE_OBJECT, Instance: PFLT_INSTANCE, IsDirectory: *mut BOOLEAN) -> NTSTATUS;

            fn FltAllocateGenericWorkItem() -> PFLT_GENERIC_WORKITEM;
            fn FltFreeGenericWorkItem(FltWorkItem: PFLT_GENERIC_WORKITEM);
            fn FltQueueGenericWorkItem(FltWorkItem: PFLT_GENERIC_WORKITEM, FltObject: PVOID, WorkerRoutine: PFLT_GENERIC_WORKITEM_ROUTINE, QueueType: i32, Context: PVOID) -> NTSTATUS;

            fn FltBuildDefaultSecurityDescriptor(SecurityDescriptor: *mut PSECURITY_DESCRIPTOR, DesiredAccess: u32) -> NTSTATUS;
            fn FltFreeSecurityDescriptor(SecurityDescriptor: PSECURITY_DESCRIPTOR);
        }
    };
}
