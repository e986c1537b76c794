from .address import Address, Network, ObservedAddress
from .agreement import Agreement, Approval, Side, Work
from .audit import AuditEntry, AuditHead
from .breakglass import BreakGlass
from .console import Console, ConsoleTicket
from .host import Host, HostAccessRecord, HostFactsRecord, HostSurveyRecord, Pool, Worker
from .jail import Drift, Jail
from .look import Look
from .operation import Operation, OperationStep, ResourceLock
from .release import Release, Template, TrustedManifest
from .review import AuditReview, ReviewMark, SavedSearch
from .sshkey import JailKey, SshKey
from .tenant import Grant, Invitation, Membership, PlanShare, Right, Tenant, TenantDataset, TenantPlan
from .usage import HostSampling, Sample, UsageHour
from .user import User

__all__ = [
    "Address",
    "Agreement",
    "Approval",
    "AuditEntry",
    "AuditHead",
    "AuditReview",
    "BreakGlass",
    "Console",
    "ConsoleTicket",
    "Drift",
    "Grant",
    "Host",
    "HostAccessRecord",
    "HostFactsRecord",
    "HostSampling",
    "HostSurveyRecord",
    "Invitation",
    "Jail",
    "JailKey",
    "Look",
    "Membership",
    "Network",
    "ObservedAddress",
    "Operation",
    "OperationStep",
    "PlanShare",
    "Pool",
    "Release",
    "ResourceLock",
    "ReviewMark",
    "Right",
    "Sample",
    "SavedSearch",
    "Side",
    "SshKey",
    "Template",
    "Tenant",
    "TenantDataset",
    "TenantPlan",
    "TrustedManifest",
    "UsageHour",
    "User",
    "Work",
    "Worker",
]
